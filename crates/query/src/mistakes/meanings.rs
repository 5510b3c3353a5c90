//! Words that other systems, and people, have for what stands here under another name.
//!
//! Invariant: a word leads to what means the same: a function to one of its kind, a column to one that holds it. Whoever reads a list takes the
//! first that is there; a word that leads to nothing there is no guess.

/// Words for a column, and the columns that hold it, the likeliest first.
pub(crate) const COLUMNS: &str = "\
revenue turnover sales price total totalamount gross grossamount value sum cost spend money volume amountgross = amount | unit_price | reserved_amount
unitprice ppu price rate = unit_price | amount
net netto amountnet netprice = net_amount
tax vat mwst taxes = tax_amount | tax_percentage
vatrate taxrate taxpercent = tax_percentage
discount rebate = discount_amount
paid collected = paid_amount
date day saledate transactiondate localdate bookingdate = business_date | occurred_at
time timestamp datetime ts at when soldat createdon transactiontime eventtime happenedat = occurred_at | created_at
created createdat = created_at | occurred_at
updated modified modifiedat changedat = updated_at
start begin startdate startedat from = started_at | start_time | window_from
end enddate endedat to until = ended_at | end_time | window_to
hour hourofday = local_hour
week weekofyear calendarweek = iso_week
yearmonth period monthyear = business_month | month
tz zone timezonename = timezone
site station location store shop branch place outlet stationname locationname storename = site_name | site_key
siteid stationid locationid storeid = site_key
device terminal machine pump till = device_name | device_key
nozzle connector bay slot = point_name | point_key
product item article good sku productname itemname fuel = article_name | product_key | product_code
productid itemid articleid = product_key | article_id
qty count litres liters kwh units volume = quantity
unit uom measure = unit_measure
status = state | outcome
type transactiontype saletype = kind | type | category
tenant mandator company operator account usergroup = tenant_name | tenant_id
customer client customerid buyer = client_id
plate licenceplate numberplate registration = license_plate
driver = driver_number
mileage odometer km = odometer_km
id key uuid transaction transactionid = transaction_key | transaction_id | record_key
paymentmethod paymenttype payment tender = method | type
card cardnumber pan = card_id
brandname cardbrand = scheme | brand
country countrycode = country_code | site_country_code
zip zipcode postcode plz = postal_code
town = city | site_city
lat = latitude
lon lng long = longitude
ccy curr currencycode = currency
origin system provider api = source | pipeline
run runid = run_id";

/// Words for a table, and the tables that are it, the likeliest first.
pub(crate) const TABLES: &str = "\
order receipt bill invoice purchase ticket session txn trx transactionheader revenue = transactions
revenue turnover countedsale countedtransaction = counted
item lineitem line position orderitem transactionitem transactionarticle basket = articles
tender paymenttransaction paymentmethod = payments
station location store shop branch place outlet = sites
terminal machine till dispenser charger = devices
pump nozzle connector pointofservice = points
good sku fuel = products
mandator customer client company operator account usergroup = tenants
log alarm devicelog error = events
coupon = vouchers
error badrecord quarantine = ops.rejects
load sync batch job = ops.runs";

/// Functions of other systems, and what is written here: a function's name, or, with a blank or a bracket in it, the whole form.
pub(crate) const FUNCTIONS: &str = "\
getdate sysdate systimestamp localtimestamp utc_timestamp current_datetime = now
curdate utc_date = current_date
isnull zeroifnull = coalesce
char_len datalength = length
ucase toupper upcase = upper
lcase tolower downcase = lower
charindex locate indexof patindex = strpos
split = split_part
mid = substr
group_concat listagg wm_concat strjoin = string_agg
collect_list collect_set list group_array list_agg = array_agg
std stdev = stddev
newid = random
truncate = trunc
ceiling = ceil
first any anyvalue arbitrary = first_value
last = last_value
percentile quantile percentile_approx = percentile_cont
size array_size = array_length
unix_timestamp epoch = to_unixtime
regexp_extract regexp_substr regexp_matches = regexp_match
uniq countdistinct count_distinct = count(DISTINCT x)
count_where = count_if
sumif sum_if = sum(x) FILTER (WHERE ...)
averageif avg_if avgif = avg(x) FILTER (WHERE ...)
iif = if
switch choose = CASE x WHEN ... THEN ... END
ratio_to_report = x / sum(x) OVER ()
timestampdiff days_between = date_diff
adddate timestampadd = date_add
subdate = date_sub
add_months = x + INTERVAL '1 month'
eomonth = last_day
year = extract(year FROM x)
quarter = extract(quarter FROM x)
month = extract(month FROM x)
week weekofyear isoweek = extract(week FROM x)
day dayofmonth = extract(day FROM x)
dayofweek weekday dow = extract(dow FROM x)
dayofyear = extract(doy FROM x)
hour = extract(hour FROM x)
minute = extract(minute FROM x)
second = extract(second FROM x)
trunc_date = date_trunc
date str_to_date parse_date = to_date | CAST(x AS DATE)
datetime timestamp parse_timestamp str_to_timestamp = to_timestamp
format_date date_to_char format time_format = to_char
convert to_number to_int to_decimal cint cdbl int numeric number = CAST(x AS DECIMAL(18, 4))
str to_string cstr varchar text char string = CAST(x AS VARCHAR)
isnumeric isdate try_to_number safe_cast try_convert = TRY_CAST(x AS DECIMAL(18, 4))
convert_timezone convert_tz from_utc_timestamp timezone = x AT TIME ZONE 'Europe/Berlin' | local_timestamp
json_extract json_value json_extract_scalar = json_get
div = CAST(a / b AS BIGINT)
log2n logn = ln
sgn = sign";

/// Types of other systems, and those that hold the same here.
pub(crate) const TYPES: &str = "\
money currency smallmoney number = DECIMAL(18, 4)
datetime datetime2 smalldatetime = TIMESTAMP
uuid uniqueidentifier json jsonb citext xml enum name = VARCHAR
float4 = REAL
float8 = DOUBLE
bit bool = BOOLEAN
blob image = BYTEA
int2 = SMALLINT
int4 serial = INTEGER
int8 bigserial = BIGINT";

/// Words that a list leads a word to: all that mean the same, the likeliest first.
pub(crate) fn lookup<'a>(list: &'a str, word: &str) -> Vec<&'a str> {
    list.lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(words, _)| words.split(' ').any(|known| known == word))
        .flat_map(|(_, meant)| meant.split(" | "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, QueryParameters, Session, empty_table};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use std::sync::Arc;

    fn session() -> Session {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        for (table, data_type) in [
            (
                "instants",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            ("numbers", DataType::Decimal128(18, 4)),
            ("texts", DataType::Utf8),
        ] {
            let field = |name: &str| Field::new(name, data_type.clone(), true);
            let schema = Schema::new(vec![field("x"), field("y"), field("a"), field("b")]);
            session
                .register(table, empty_table(Arc::new(schema)))
                .unwrap();
        }
        session
    }

    /// Message about a query: nothing where it runs.
    async fn told(session: &Session, sql: &str) -> String {
        let given = QueryParameters::default();
        match session.query_written(sql, &given, (1, 1)).await {
            Ok(_) => String::new(),
            Err(error) => format!("{error} {}", error.hint_text().unwrap_or_default()),
        }
    }

    #[tokio::test]
    async fn a_function_of_another_system_leads_to_one_that_is_here() {
        let session = session();
        let mut wrong = Vec::new();
        for (words, meant) in FUNCTIONS.lines().filter_map(|line| line.split_once(" = ")) {
            for word in words.split(' ') {
                let told = told(&session, &format!("SELECT {word}(x) FROM texts")).await;
                if !told.contains("Did you mean") && !told.contains("Here it is written") {
                    wrong.push(format!("{word}: {told}"));
                }
            }
            for form in meant.split(" | ").filter(|form| !form.contains("...")) {
                let mut planned = Vec::new();
                for table in ["instants", "numbers", "texts"] {
                    let sql = match form.contains([' ', '(']) {
                        true => format!("SELECT {form} FROM {table}"),
                        false => format!("SELECT {form}() FROM {table}"),
                    };
                    planned.push(told(&session, &sql).await);
                }
                let is_here = match form.contains([' ', '(']) {
                    true => planned.iter().any(String::is_empty),
                    false => planned.iter().all(|told| !told.contains("no function")),
                };
                if !is_here {
                    wrong.push(format!("{form}: {planned:?}"));
                }
            }
        }
        for meant in TYPES.lines().filter_map(|line| line.split_once(" = ")) {
            let told = told(&session, &format!("SELECT CAST(NULL AS {})", meant.1)).await;
            if !told.is_empty() {
                wrong.push(format!("{}: {told}", meant.1));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn columns_and_tables_that_words_lead_to_are_in_the_dictionary() {
        let dictionary = include_str!("../../../../docs/dictionary.md");
        let meant = |list: &'static str| {
            let meant = list.lines().filter_map(|line| line.split_once(" = "));
            meant.flat_map(|(_, meant)| meant.split(" | "))
        };
        for column in meant(COLUMNS) {
            assert!(
                dictionary.contains(&format!("| `{column}` |")),
                "there is no column {column}"
            );
        }
        for table in meant(TABLES) {
            let full = if table.contains('.') {
                table.to_owned()
            } else {
                format!("unified.{table}")
            };
            assert!(
                dictionary.contains(&format!("### {full}\n")),
                "there is no table {table}"
            );
        }
    }

    #[test]
    fn a_word_leads_to_what_means_the_same() {
        assert_eq!(lookup(TABLES, "revenue"), ["transactions", "counted"]);
        assert_eq!(lookup(FUNCTIONS, "year"), ["extract(year FROM x)"]);
        assert!(lookup(COLUMNS, "nothing").is_empty());
        for list in [COLUMNS, TABLES, FUNCTIONS, TYPES] {
            for line in list.lines() {
                let (words, meant) = line.split_once(" = ").unwrap();
                assert!(!words.is_empty() && !meant.is_empty(), "{line}");
            }
        }
    }
}
