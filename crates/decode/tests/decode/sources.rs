//! Cost of an odd value in the four sources: the shipped contracts, one odd value at a time.
//!
//! Invariant: a sale is lost only for its key, its time, its currency, its money and quantities, and what decides its state or kind.

use arrow::array::Array as _;
use std::path::Path;
use std::sync::Arc;
use tillhouse_decode::Decoder;
use tillhouse_model::contract;

pub(crate) const HECONE: &str = r#"{"id":"1","state":"completed","site_id":"s","invoice":{"amount":12.5,"currency":"EUR","created_at":"2026-01-05T10:00:00Z"},
    "articles":[{"id":"a","name":"Diesel","state":"done","amount":12.5,"currency":"EUR","quantity":7.5,"unit_measure":"l","tax_percentage":19,
    "start_time":"2026-01-05T09:00:00Z","end_time":"2026-01-05T09:30:00Z","log":[{"code":1,"description":"x"}]}],
    "payments":[{"id":"p","state":"collected","amount":12.5,"currency":"EUR","created_at":"2026-01-05T10:00:00Z","medium":"Card","card_id":"1234"}],
    "point":{"name":"Pump","number":3},"site":{"timezone":"Europe/Berlin","name":"Site"},
    "customer_data":{"odometer":120000,"license_plate":"KA-XY 1"}}"#;

pub(crate) const BEMO: &str = r#"{"sessionId":"1","isRfid":true,"rfid":"04AB","sessionStartDate":"2026-01-05T10:00:00Z","sessionEndDate":"2026-01-05T11:00:00Z",
    "timeZone":"+01:00","placeId":"p","latitude":52.5,"longitude":13.4,
    "transactions":[{"transactionDate":"2026-01-05T10:30:00Z","productCode":"B7","quantity":7.5,"quantityUnit":"L","unitPrice":1.5,"totalAmount":11.25,
    "currencyKey":"EUR"}]}"#;

pub(crate) const PACE: &str = r#"{"id":"1","type":"transaction","attributes":{"createdAt":"2026-01-05T10:00:00Z","createdAtLocaltime":"2026-01-05T11:00:00",
    "priceIncludingVAT":119,"priceWithoutVAT":100,"currency":"EUR","VAT":{"amount":19,"rate":0.19},"fuel":{"pumpNumber":3,"unit":"liter",
    "amount":70,"pricePerUnit":1.7,"type":"ron98"},"location":{"latitude":49.0,"longitude":8.4,"brand":"B","address":{"city":"C"}},"mileage":1000,"references":["r"]}}"#;

pub(crate) const SMARTNOW: &str = r#"{"id":1,"product":3,"name":"Cola","machine":8,"location":2,"occurredAt":"2026-01-05T10:00:00+01:00","timeZone":"Europe/Berlin",
    "originalPrice":0,"price":150,"currency":"EUR","timestamp":1767603600,"salestype":0,"numPaymentTransactions":1,"usergroup":0,
    "updatedAt":"2026-01-05T10:00:01Z"}"#;

pub(crate) fn shipped(table: &str) -> Decoder {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../schemas")
        .join(table);
    let spec = contract::parse(&std::fs::read_to_string(&file).unwrap(), table).unwrap();
    Decoder::with_parameters(
        Arc::new(spec),
        Some(crate::fixture::key()),
        &[
            ("price_unit", "minor".into()),
            ("vat_rate", "percent".into()),
        ],
    )
    .unwrap()
}

/// Outcome of a record with one text in it replaced: `ok`, the warnings' rules and fields, or what
/// the reject says.
fn told(decoder: &Decoder, record: &str, from: &str, to: &str) -> String {
    assert!(record.contains(from), "{from} is in {record}");
    let page = format!("[{}]", record.replacen(from, to, 1));
    let decoded = decoder
        .decode_scoped(page.as_bytes(), &[], Some("scope"))
        .unwrap();
    assert_eq!(decoded.unknown.len(), 0, "{:?}", decoded.unknown);
    if let Some(reject) = decoded.rejects.first() {
        return format!("reject: {}: {}", reject.field, reject.reason);
    }
    assert_eq!(decoded.keys.len(), 1);
    let warnings: Vec<String> = decoded
        .warnings
        .iter()
        .map(|w| format!("{} at {}", w.rule, w.field))
        .collect();
    if warnings.is_empty() {
        "ok".to_owned()
    } else {
        warnings.join(", ")
    }
}

fn all(table: &str, record: &str, cases: &[(&str, &str, &str)]) {
    let decoder = shipped(table);
    assert_eq!(told(&decoder, record, "1", "1"), "ok", "as it is");
    for (from, to, outcome) in cases {
        assert_eq!(told(&decoder, record, from, to), *outcome, "{from} as {to}");
    }
}

#[test]
fn hecone() {
    let missing = "reject: id: missing required field";
    all(
        "hecone/transactions.yaml",
        HECONE,
        &[
            (r#""id":"1""#, r#""id":"""#, missing),
            (r#""id":"1""#, r#""id":"\u00a0""#, missing),
            (r#""id":"1""#, r#""id":null"#, missing),
            (r#""id":"1""#, r#""id":{}"#, missing),
            (r#""id":"1""#, r#""id":[]"#, missing),
            (r#""id":"1""#, r#""id":17"#, "ok"),
            (
                r#""number":3"#,
                r#""number":"A3""#,
                "expected_whole_number at point.number",
            ),
            (r#""number":3"#, r#""number":"3""#, "ok"),
            (r#""number":3"#, r#""number":"""#, "ok"),
            (
                r#""code":1"#,
                r#""code":"E-17""#,
                "expected_whole_number at articles[0].log[0].code",
            ),
            (r#""description":"x""#, r#""description":5"#, "ok"),
            (
                r#"{"code":1,"description":"x"}"#,
                r#""rebooted""#,
                "expected_object at articles[0].log[0]",
            ),
            (
                r#""log":[{"code":1,"description":"x"}]"#,
                r#""log":"none""#,
                "expected_array at articles[0].log",
            ),
            (
                r#""log":[{"code":1,"description":"x"}]"#,
                r#""log":{}"#,
                "ok",
            ),
            (
                r#""payments":[{"#,
                r#""payments":["{\"id\":\"q\",\"amount\":5}",{"#,
                "reject: payments[0]: expected an object, found text",
            ),
            (
                r#""payments":[{"#,
                r#""payments":[[{"id":"q","amount":5}],{"#,
                "reject: payments[0]: expected an object, found an array",
            ),
            (
                r#""payments":[{"#,
                r#""payments":[null,{"#,
                "expected_object at payments[0]",
            ),
            (
                r#""articles":[{"#,
                r#""articles":[5,{"#,
                "reject: articles[0]: expected an object, found a number",
            ),
            (
                r#""end_time":"2026-01-05T09:30:00Z""#,
                r#""end_time":"9999-12-31T23:59:59Z""#,
                "open_end at articles[0].end_time",
            ),
            (
                r#""end_time":"2026-01-05T09:30:00Z""#,
                r#""end_time":"0000-00-00 00:00:00""#,
                "no_time at articles[0].end_time",
            ),
            (
                r#""end_time":"2026-01-05T09:30:00Z""#,
                r#""end_time":"2026-01-05T24:00:00Z""#,
                "ok",
            ),
            (
                r#""end_time":"2026-01-05T09:30:00Z""#,
                r#""end_time":"later""#,
                "expected_time at articles[0].end_time",
            ),
            (
                r#""start_time":"2026-01-05T09:00:00Z""#,
                r#""start_time":"0001-01-01T00:00:00Z""#,
                "no_time at articles[0].start_time",
            ),
            (
                r#""created_at":"2026-01-05T10:00:00Z""#,
                r#""created_at":"0001-01-01T00:00:00Z""#,
                "no_time at invoice.created_at",
            ),
            (
                r#""created_at":"2026-01-05T10:00:00Z""#,
                r#""created_at":"soon""#,
                "reject: invoice.created_at: not a time",
            ),
            (
                r#""created_at":"2026-01-05T10:00:00Z""#,
                r#""created_at":"9999-12-31T23:59:59Z""#,
                "open_end at invoice.created_at",
            ),
            (
                r#""created_at":"2026-01-05T10:00:00Z""#,
                r#""created_at":"1601-01-01T00:00:00Z""#,
                "no_time at invoice.created_at",
            ),
            (r#""state":"completed""#, r#""state":" Completed""#, "ok"),
            (
                r#""state":"completed""#,
                r#""state":"\uff23OMPLETED\u200b""#,
                "ok",
            ),
            (r#""state":"collected""#, r#""state":"COLLECTED ""#, "ok"),
            (r#""state":"done""#, r#""state":"Done\n""#, "ok"),
            (
                r#""state":"completed""#,
                r#""state":"complete""#,
                "state_known at state, state_follows at state",
            ),
            (
                r#""currency":"EUR""#,
                r#""currency":"\uff25\uff35\uff32""#,
                "ok",
            ),
            (r#""currency":"EUR""#, r#""currency":"E\u200bUR""#, "ok"),
            (r#""amount":12.5"#, r#""amount":" 12.50 ""#, "ok"),
            (
                r#""amount":12.5"#,
                r#""amount":"12,50""#,
                "reject: invoice.amount: expected a number, found text",
            ),
            (
                r#""quantity":7.5"#,
                r#""quantity":"7,5""#,
                "reject: articles[0].quantity: expected a number, found text",
            ),
            (
                r#""currency":"EUR""#,
                r#""currency":{}"#,
                "reject: invoice.currency: expected text, found an object",
            ),
            (
                r#""state":"completed""#,
                r#""state":true"#,
                "reject: state: expected text, found a truth value",
            ),
            (
                r#""state":"collected""#,
                r#""state":[1]"#,
                "reject: payments[0].state: expected text, found an array",
            ),
            (
                r#""unit_measure":"l""#,
                r#""unit_measure":false"#,
                "reject: articles[0].unit_measure: expected text, found a truth value",
            ),
            (
                r#""medium":"Card""#,
                r#""medium":{"x":1}"#,
                "expected_text at payments[0].medium",
            ),
            (
                r#""tax_percentage":19"#,
                r#""tax_percentage":"19 %""#,
                "expected_number at articles[0].tax_percentage",
            ),
            (r#""tax_percentage":19"#, r#""tax_percentage":"7.6""#, "ok"),
            (
                r#""tax_percentage":19"#,
                r#""tax_percentage":119"#,
                "tax_percentage_at_most_100 at articles[0].tax_percentage",
            ),
            (
                r#""odometer":120000"#,
                r#""odometer":"120 000""#,
                "expected_number at customer_data.odometer",
            ),
            (
                r#""odometer":120000"#,
                r#""odometer":99999999999999999"#,
                "number_too_large at customer_data.odometer",
            ),
            (r#""Europe/Berlin""#, r#""W. Europe Standard Time""#, "ok"),
            (r#""Europe/Berlin""#, r#""EUROPE/BERLIN""#, "ok"),
            (
                r#""Europe/Berlin""#,
                r#""Mars/Base""#,
                "site_timezone_known at site.timezone",
            ),
            (
                r#""Europe/Berlin""#,
                r#"" ""#,
                "site_timezone_given at site.timezone",
            ),
            (
                r#""timezone":"Europe/Berlin","#,
                "",
                "site_timezone_given at site.timezone",
            ),
            (
                r#"{"timezone":"Europe/Berlin","name":"Site"}"#,
                "[]",
                "site_timezone_given at site.timezone",
            ),
            (
                r#"{"timezone":"Europe/Berlin","name":"Site"}"#,
                r#""Site""#,
                "expected_object at site, site_timezone_given at site.timezone",
            ),
            (
                r#""name":"Site""#,
                r#""name":"Caf\ud83d""#,
                "reject: site.name: the text holds half a character (a lone surrogate)",
            ),
            (r#""card_id":"1234""#, r#""card_id":1234"#, "ok"),
            (
                r#""license_plate":"KA-XY 1""#,
                r#""license_plate":["KA"]"#,
                "expected_text at customer_data.license_plate",
            ),
        ],
    );
}

#[test]
fn bemo() {
    all(
        "bemo/sessions.yaml",
        BEMO,
        &[
            (
                r#""sessionId":"1""#,
                r#""sessionId":" ""#,
                "reject: sessionId: missing required field",
            ),
            (r#""isRfid":true"#, r#""isRfid":1"#, "ok"),
            (r#""isRfid":true"#, r#""isRfid":"FALSE""#, "ok"),
            (
                r#""isRfid":true"#,
                r#""isRfid":"yes""#,
                "expected_boolean at isRfid",
            ),
            (r#""rfid":"04AB""#, r#""rfid":4711"#, "ok"),
            (r#""timeZone":"+01:00""#, r#""timeZone":"01:00:00""#, "ok"),
            (r#""timeZone":"+01:00""#, r#""timeZone":"-03:30:00""#, "ok"),
            (
                r#""timeZone":"+01:00""#,
                r#""timeZone":"europe/berlin""#,
                "ok",
            ),
            (
                r#""timeZone":"+01:00""#,
                r#""timeZone":"MEZ""#,
                "time_zone_known at timeZone",
            ),
            (
                r#""timeZone":"+01:00""#,
                r#""timeZone":null"#,
                "time_zone_given at timeZone",
            ),
            (
                r#""timeZone":"+01:00""#,
                r#""timeZone":[]"#,
                "expected_text at timeZone, time_zone_given at timeZone",
            ),
            (
                r#""latitude":52.5"#,
                r#""latitude":"52,5""#,
                "expected_number at latitude",
            ),
            (r#""longitude":13.4"#, r#""longitude":"13.4""#, "ok"),
            (
                r#""transactions":[{"#,
                r#""transactions":["{\"totalAmount\":5}",{"#,
                "reject: transactions[0]: expected an object, found text",
            ),
            (
                r#""sessionEndDate":"2026-01-05T11:00:00Z""#,
                r#""sessionEndDate":"9999-12-31T23:59:59.9999999Z""#,
                "open_end at sessionEndDate",
            ),
            (
                r#""sessionEndDate":"2026-01-05T11:00:00Z""#,
                r#""sessionEndDate":"0001-01-01T00:00:00""#,
                "no_time at sessionEndDate",
            ),
            (
                r#""sessionEndDate":"2026-01-05T11:00:00Z""#,
                r#""sessionEndDate":"soon""#,
                "reject: sessionEndDate: not a time",
            ),
            (
                r#""sessionStartDate":"2026-01-05T10:00:00Z""#,
                r#""sessionStartDate":"soon""#,
                "reject: sessionStartDate: not a time",
            ),
            (
                r#""sessionStartDate":"2026-01-05T10:00:00Z""#,
                r#""sessionStartDate":"9999-12-31T23:59:59Z""#,
                "open_end at sessionStartDate",
            ),
            (
                r#""sessionStartDate":"2026-01-05T10:00:00Z""#,
                r#""sessionStartDate":"0001-01-01T00:00:00""#,
                "no_time at sessionStartDate",
            ),
            (
                r#""transactionDate":"2026-01-05T10:30:00Z""#,
                r#""transactionDate":"soon""#,
                "expected_time at transactions[0].transactionDate",
            ),
            (r#""totalAmount":11.25"#, r#""totalAmount":"11.25""#, "ok"),
            (
                r#""totalAmount":11.25"#,
                r#""totalAmount":"11,25""#,
                "reject: transactions[0].totalAmount: expected a number, found text",
            ),
            (r#""productCode":"B7""#, r#""productCode":7"#, "ok"),
            (
                r#""sessionStartDate":"2026-01-05T10:00:00Z","sessionEndDate":"2026-01-05T11:00:00Z",
    "timeZone":"+01:00","#,
                "",
                "time_zone_given at timeZone",
            ),
        ],
    );
}

#[test]
fn pace() {
    all(
        "pace/transactions.yaml",
        PACE,
        &[
            (r#""rate":0.19"#, r#""rate":19"#, "ok"),
            (r#""rate":0.19"#, r#""rate":"0.19""#, "ok"),
            (
                r#""rate":0.19"#,
                r#""rate":119"#,
                "vat_rate_at_most_100 at attributes.VAT.rate",
            ),
            (
                r#""rate":0.19"#,
                r#""rate":"19%""#,
                "expected_number at attributes.VAT.rate",
            ),
            (
                r#""rate":0.19"#,
                r#""rate":-0.19"#,
                "vat_rate_not_negative at attributes.VAT.rate",
            ),
            (
                r#""createdAtLocaltime":"2026-01-05T11:00:00""#,
                r#""createdAtLocaltime":"""#,
                "local_time_given at attributes.createdAtLocaltime",
            ),
            (
                r#","createdAtLocaltime":"2026-01-05T11:00:00""#,
                "",
                "local_time_given at attributes.createdAtLocaltime",
            ),
            (
                r#""createdAtLocaltime":"2026-01-05T11:00:00""#,
                r#""createdAtLocaltime":"2026-01-05 11:00""#,
                "ok",
            ),
            (
                r#""createdAt":"2026-01-05T10:00:00Z","createdAtLocaltime":"2026-01-05T11:00:00""#,
                r#""createdAt":"2026-01-05T23:00:00Z","createdAtLocaltime":"2026-01-05T24:00:00""#,
                "ok",
            ),
            (
                r#""rate":0.19"#,
                r#""rate":1900"#,
                "number_too_large at attributes.VAT.rate",
            ),
            (r#""pumpNumber":3"#, r#""pumpNumber":"3""#, "ok"),
            (
                r#""pumpNumber":3"#,
                r#""pumpNumber":"3b""#,
                "expected_whole_number at attributes.fuel.pumpNumber",
            ),
            (
                r#""mileage":1000"#,
                r#""mileage":1000.5"#,
                "expected_whole_number at attributes.mileage",
            ),
            (
                r#""mileage":1000"#,
                r#""mileage":9223372036854775808"#,
                "number_too_large at attributes.mileage",
            ),
            (
                r#""mileage":1000"#,
                r#""mileage":1000,"error":{"code":1}"#,
                "error_has_no_amount at attributes.error",
            ),
            (r#""pumpNumber":3"#, r#""pumpNumber":"null""#, "ok"),
            (r#""pumpNumber":3"#, r#""pumpNumber":"Undefined""#, "ok"),
            (
                r#""brand":"B","address":{"city":"C"}"#,
                r#""brand":"B","address":{"city":"null","street":" ","countryCode":"DE"}"#,
                "site_address_told at attributes.location.address.street",
            ),
            (
                r#""brand":"B","address":{"city":"C"}"#,
                r#""stationName":"S""#,
                "site_address_told at attributes.location.address.street",
            ),
            (
                r#""brand":"B","address":{"city":"C"}"#,
                r#""brand":null"#,
                "ok",
            ),
            (
                r#""createdAt":"2026-01-05T10:00:00Z","createdAtLocaltime":"2026-01-05T11:00:00","#,
                "",
                "created_at_given at attributes.createdAt",
            ),
            (r#""references":["r"]"#, r#""references":{}"#, "ok"),
            (
                r#""references":["r"]"#,
                r#""references":"r""#,
                "expected_array at attributes.references",
            ),
            (
                r#""latitude":49.0"#,
                r#""latitude":"n/a""#,
                "expected_number at attributes.location.latitude",
            ),
            (
                r#""type":"transaction""#,
                r#""type":{}"#,
                "expected_text at type",
            ),
            (
                r#""createdAt":"2026-01-05T10:00:00Z""#,
                r#""createdAt":"0001-01-01T00:00:00Z""#,
                "no_time at attributes.createdAt, created_at_given at attributes.createdAt",
            ),
            (
                r#""createdAt":"2026-01-05T10:00:00Z""#,
                r#""createdAt":"9999-12-31T23:59:59Z""#,
                "open_end at attributes.createdAt, created_at_given at attributes.createdAt",
            ),
            (
                r#""createdAt":"2026-01-05T10:00:00Z""#,
                r#""createdAt":"2026-01-05 10:00:00 UTC""#,
                "ok",
            ),
        ],
    );
}

#[test]
fn smartnow() {
    let missing = "reject: id: missing required field";
    all(
        "smartnow/revenue_transactions.yaml",
        SMARTNOW,
        &[
            (r#""id":1"#, r#""id":"1""#, "ok"),
            (r#""id":1"#, r#""id":"""#, missing),
            (r#""id":1"#, r#""id":{}"#, missing),
            (
                r#""id":1"#,
                r#""id":"x""#,
                "reject: id: expected a whole number, found text",
            ),
            (
                r#""product":3"#,
                r#""product":"A3""#,
                "expected_whole_number at product",
            ),
            (r#""name":"Cola""#, r#""name":7"#, "ok"),
            (
                r#""price":150"#,
                r#""price":"1,50""#,
                "reject: price: expected a number, found text",
            ),
            (r#""price":150"#, r#""price":"150""#, "ok"),
            (
                r#""salestype":0"#,
                r#""salestype":"test""#,
                "reject: salestype: expected a whole number, found text",
            ),
            (r#""salestype":0"#, r#""salestype":"null""#, "ok"),
            (r#""location":2"#, r#""location":"null""#, "ok"),
            (r#""machine":8"#, r#""machine":"undefined""#, "ok"),
            (r#""usergroup":0"#, r#""usergroup":" None ""#, "ok"),
            (
                r#""timestamp":1767603600"#,
                r#""timestamp":"1767603600""#,
                "ok",
            ),
            (
                r#""timestamp":1767603600"#,
                r#""timestamp":"soon""#,
                "expected_time at timestamp",
            ),
            (
                r#""occurredAt":"2026-01-05T10:00:00+01:00""#,
                r#""occurredAt":"2026-01-05T10:00:00""#,
                "reject: occurredAt: time without offset",
            ),
            (
                r#""occurredAt":"2026-01-05T10:00:00+01:00""#,
                r#""occurredAt":1767603600"#,
                "reject: occurredAt: expected a time as text, found a number",
            ),
            (
                r#""updatedAt":"2026-01-05T10:00:01Z""#,
                r#""updatedAt":"0001-01-01T00:00:00Z""#,
                "no_time at updatedAt",
            ),
            (
                r#""occurredAt":"2026-01-05T10:00:00+01:00""#,
                r#""occurredAt":"0001-01-01T00:00:00""#,
                "no_time at occurredAt, occurred_at_given at occurredAt",
            ),
            (
                r#""timeZone":"Europe/Berlin""#,
                r#""timeZone":"Europe/Atlantis""#,
                "time_zone_known at timeZone",
            ),
            (
                r#""timeZone":"Europe/Berlin""#,
                r#""timeZone":"\u200b""#,
                "time_zone_given at timeZone",
            ),
            (
                r#""currency":"EUR""#,
                r#""currency":"BTC""#,
                "currency_known at currency, price_fits_unit at price",
            ),
        ],
    );
    let cents = r#""value":500,"valueType":"cents","currency":"EUR""#;
    all(
        "smartnow/vouchers.yaml",
        &format!(r#"{{"id":"ab-1",{cents}}}"#),
        &[
            (
                r#""currency":"EUR""#,
                r#""currency":null"#,
                "value_fits_unit at value",
            ),
            (
                r#""value":500"#,
                r#""value":12.5"#,
                "value_fits_unit at value",
            ),
            (cents, r#""value":0"#, "ok"),
            (
                cents,
                r#""initialValue":500"#,
                "initial_value_fits_unit at initialValue",
            ),
            (cents, r#""balance":500"#, "balance_fits_unit at balance"),
            (
                cents,
                r#""amountRedeemed":500"#,
                "amount_redeemed_fits_unit at amountRedeemed",
            ),
            (
                cents,
                r#""totalAmountRedeemed":500"#,
                "total_amount_redeemed_fits_unit at totalAmountRedeemed",
            ),
        ],
    );
    all(
        "smartnow/payment_transactions.yaml",
        r#"{"id":1,"revenuetransaction":7,"machine":8,"occurredAt":"2026-01-05T10:00:00+01:00","timeZone":"Europe/Berlin","method":"cash","price":150,"currency":"EUR"}"#,
        &[
            (
                r#""revenuetransaction":7"#,
                r#""revenuetransaction":"7""#,
                "ok",
            ),
            (
                r#""revenuetransaction":7"#,
                r#""revenuetransaction":"abc""#,
                "expected_whole_number at revenuetransaction",
            ),
            (
                r#""revenuetransaction":7"#,
                r#""revenuetransaction":{"id":7}"#,
                "expected_whole_number at revenuetransaction",
            ),
            (
                r#""revenuetransaction":7"#,
                r#""revenuetransaction":1e30"#,
                "number_too_large at revenuetransaction",
            ),
            (
                r#""revenuetransaction":7"#,
                r#""revenuetransaction":"""#,
                "ok",
            ),
            (
                r#""2026-01-05T10:00:00+01:00""#,
                r#""0001-01-01T00:00:00Z""#,
                "no_time at occurredAt, occurred_at_given at occurredAt",
            ),
            (
                r#""2026-01-05T10:00:00+01:00""#,
                r#""9999-12-31T23:59:59Z""#,
                "open_end at occurredAt, occurred_at_given at occurredAt",
            ),
            (
                r#""2026-01-05T10:00:00+01:00""#,
                "null",
                "occurred_at_given at occurredAt",
            ),
            (
                r#""2026-01-05T10:00:00+01:00""#,
                r#""2026-01-05""#,
                "reject: occurredAt: date without time",
            ),
            (r#""method":"cash""#, r#""method":"CASH ""#, "ok"),
            (
                r#""method":"cash""#,
                r#""method":"barter""#,
                "method_known at method",
            ),
        ],
    );
    all(
        "smartnow/logs.yaml",
        r#"{"id":1,"machine":8,"code":"CM_REBOOT","occurredAt":"2026-01-05T10:00:00+01:00","timeZone":"Europe/Berlin","timestamp":1767603600}"#,
        &[(
            r#""2026-01-05T10:00:00+01:00""#,
            "null",
            "occurred_at_given at occurredAt",
        )],
    );
    all(
        "smartnow/products.yaml",
        r#"{"id":1,"plu":3,"name":"Cola","price":150,"machine":8,"vatrate":19}"#,
        &[
            (
                r#""vatrate":19"#,
                r#""vatrate":"19 %""#,
                "expected_number at vatrate",
            ),
            (r#""vatrate":19"#, r#""vatrate":"19""#, "ok"),
            (
                r#""vatrate":19"#,
                r#""vatrate":0.19"#,
                "vatrate_fits_unit at vatrate",
            ),
            (
                r#""vatrate":19"#,
                r#""vatrate":-19"#,
                "vatrate_fits_unit at vatrate",
            ),
            (
                r#""vatrate":19"#,
                r#""vatrate":190"#,
                "vatrate_fits_unit at vatrate",
            ),
            (
                r#""vatrate":19"#,
                r#""vatrate":1e9"#,
                "number_too_large at vatrate",
            ),
            (
                r#""price":150"#,
                r#""price":"1,50""#,
                "expected_number at price",
            ),
        ],
    );
}

#[test]
fn a_smartnow_sale_that_says_no_time_happened_at_its_timestamp_or_when_it_was_made() {
    let decoder = shipped("smartnow/revenue_transactions.yaml");
    let time = |occurred: &str, timestamp: &str| {
        let page = format!(
            r#"[{{"id":1,"occurredAt":{occurred},"timestamp":{timestamp},"createdAt":"2026-01-05T09:30:00Z"}}]"#
        );
        let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
        assert_eq!(decoded.rejects, []);
        crate::row_json::instant(decoded.record_times.value(0))
    };
    let epoch = "1767603600";
    assert!(time(r#""2026-01-05T10:00:00+01:00""#, epoch).starts_with("2026-01-05T09:00"));
    for none in [
        "null",
        r#""9999-12-31T23:59:59Z""#,
        r#""0000-00-00 00:00:00""#,
        r#""0000-00-00T00:00:00Z""#,
    ] {
        assert!(time(none, epoch).starts_with("2026-01-05T09:00"), "{none}");
        for nothing in ["null", "0"] {
            assert!(
                time(none, nothing).starts_with("2026-01-05T09:30"),
                "{none} {nothing}"
            );
        }
    }
}

#[test]
fn a_record_without_any_time_is_told_that_and_nothing_of_a_clock() {
    for (table, record, told) in [
        (
            "hecone/transactions.yaml",
            r#"{"id":"1","state":"created","site":{"name":"S"},"articles":[{"id":"a","start_time":null}]}"#,
            vec!["time_given"],
        ),
        (
            "hecone/transactions.yaml",
            r#"{"id":"1","state":"created","articles":[{"id":"a"},{"id":"b","start_time":"2026-01-05T10:00:00Z"}]}"#,
            vec!["site_timezone_given"],
        ),
        (
            "bemo/sessions.yaml",
            r#"{"sessionId":"1","transactions":[]}"#,
            vec!["session_time_given"],
        ),
        (
            "pace/transactions.yaml",
            r#"{"id":"1","attributes":{}}"#,
            vec!["created_at_given"],
        ),
        (
            "smartnow/revenue_transactions.yaml",
            r#"{"id":1}"#,
            vec!["occurred_at_given"],
        ),
        (
            "smartnow/payment_transactions.yaml",
            r#"{"id":1,"createdAt":"2026-01-05T10:00:00Z"}"#,
            vec!["occurred_at_given", "time_zone_given"],
        ),
    ] {
        let page = format!("[{record}]");
        let decoded = shipped(table)
            .decode_scoped(page.as_bytes(), &[], Some("scope"))
            .unwrap();
        let mut rules: Vec<&str> = decoded.warnings.iter().map(|w| &*w.rule).collect();
        rules.retain(|rule| rule.ends_with("_given") && *rule != "state_given");
        assert_eq!(rules, told, "{record}");
    }
}

#[test]
fn an_error_of_pace_is_one_in_whatever_form_and_one_that_says_none_is_none() {
    let decoder = shipped("pace/transactions.yaml");
    for (error, kept) in [
        (r#""declined""#, Some("declined")),
        (r#"{"code":"x"}"#, Some(r#"{"code":"x"}"#)),
        (
            r#"{ "code": 7, "title": null }"#,
            Some(r#"{ "code": 7, "title": null }"#),
        ),
        (r#"["a","b"]"#, Some(r#"["a","b"]"#)),
        ("true", Some("true")),
        ("17", Some("17")),
        (r#""E0""#, Some("E0")),
        (r#""no card""#, Some("no card")),
        (r#""not ok""#, Some("not ok")),
        (
            r#"{"code":0,"message":"declined"}"#,
            Some(r#"{"code":0,"message":"declined"}"#),
        ),
        (
            r#"{"code":0,"failed":true}"#,
            Some(r#"{"code":0,"failed":true}"#),
        ),
        ("[0,1]", Some("[0,1]")),
        (
            r#"{"code":200,"message":"declined"}"#,
            Some(r#"{"code":200,"message":"declined"}"#),
        ),
        (
            r#"{"code":402,"message":"OK"}"#,
            Some(r#"{"code":402,"message":"OK"}"#),
        ),
        (r#"{"code":0,"message":""}"#, None),
        (
            r#"{"code":"0","message":"OK","details":[{"code":0.0}]}"#,
            None,
        ),
        (r#"{"message":"No error","failed":false}"#, None),
        (r#"{"code":200,"message":"OK"}"#, None),
        (r#"{"status":"204","title":"Success!"}"#, None),
        (r#"{"code":201}"#, None),
        (r#""Succeeded.""#, None),
        (r#"{"code":"None","message":"null"}"#, None),
        ("[0]", None),
        ("0", None),
        ("0.0", None),
        (r#""0""#, None),
        (r#"" 0 ""#, None),
        (r#""false""#, None),
        (r#""FALSE""#, None),
        (r#""OK""#, None),
        (r#""ok ""#, None),
        (r#""none""#, None),
        (r#""no  error""#, None),
        (r#""""#, None),
        ("{}", None),
        ("[]", None),
        ("{ }", None),
        ("[{}]", None),
        (r#"{"code":null,"detail":"","links":{}}"#, None),
        ("false", None),
        ("null", None),
        (r#""null""#, None),
    ] {
        let page = PACE.replace(r#""mileage":1000"#, &format!(r#""error":{error}"#));
        let decoded = decoder
            .decode_scoped(format!("[{page}]").as_bytes(), &[], Some("scope"))
            .unwrap();
        assert_eq!(
            (decoded.rejects.len(), decoded.warnings.len()),
            (0, usize::from(kept.is_some())),
            "{error}"
        );
        let row = &crate::row_json::rows(&decoded.batch)[0];
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        assert_eq!(row["attributes"]["error"].as_str(), kept, "{error}");
    }
}

#[test]
fn what_was_still_to_come_is_none_where_the_contract_says_so() {
    let end = |decoder: &Decoder, end: &str| {
        let page = format!(
            r#"[{{"sessionId":"s","sessionStartDate":"2026-01-04T00:00:00Z","sessionEndDate":"{end}","timeZone":"+01:00"}}]"#
        );
        let decoded = decoder
            .decode_scoped(page.as_bytes(), &[], Some("scope"))
            .unwrap();
        assert_eq!(decoded.rejects, []);
        let told = decoded.warnings.iter();
        let told = told.map(|w| format!("{} {} {}", w.rule, w.field, w.original));
        let row = &crate::row_json::rows(&decoded.batch)[0];
        (row.contains("session_end_date"), told.collect::<Vec<_>>())
    };
    let any_time = shipped("bemo/sessions.yaml");
    let decoder = any_time.asked_at("2026-01-05T00:00:00Z".parse().unwrap());
    // Clocks may be a day ahead.
    let near = "2026-01-05T23:59:59Z";
    assert_eq!(end(&decoder, near), (true, vec![]));
    for far in ["2026-01-06T00:00:01Z", "2099-01-01T00:00:00Z"] {
        let told = format!("time_ahead sessionEndDate {far}");
        assert_eq!(end(&decoder, far), (false, vec![told]));
        assert_eq!(end(&any_time, far), (true, vec![]));
    }
    // A change that was not made yet orders no versions.
    let page = r#"[{"id":"1","attributes":{"updatedAt":"2099-01-01T00:00:00Z"}}]"#;
    let decoder = shipped("pace/transactions.yaml");
    for (asked_at, is_known) in [
        ("2026-01-05T00:00:00Z", false),
        ("2099-01-01T00:00:00Z", true),
    ] {
        let decoder = decoder.asked_at(asked_at.parse().unwrap());
        let decoded = decoder
            .decode_scoped(page.as_bytes(), &[], Some("scope"))
            .unwrap();
        assert_eq!(decoded.updated_at.is_valid(0), is_known, "{asked_at}");
    }
}

#[test]
fn a_record_that_is_still_to_come_stays_with_its_time_and_is_told() {
    let (asked_at, near) = ("2026-01-05T00:00:00Z", "2026-01-05T23:59:59Z");
    for (table, field, record) in [
        (
            "hecone/transactions.yaml",
            "invoice.created_at",
            r#"{"id":"1","invoice":{"created_at":"AT"}}"#,
        ),
        (
            "pace/transactions.yaml",
            "attributes.createdAt",
            r#"{"id":"1","attributes":{"createdAt":"AT"}}"#,
        ),
        (
            "bemo/sessions.yaml",
            "sessionStartDate",
            r#"{"sessionId":"1","sessionStartDate":"AT"}"#,
        ),
        (
            "smartnow/revenue_transactions.yaml",
            "occurredAt",
            r#"{"id":1,"occurredAt":"AT"}"#,
        ),
    ] {
        let any_time = shipped(table);
        let told = |decoder: &Decoder, at: &str| {
            let page = format!("[{}]", record.replace("AT", at));
            let decoded = decoder
                .decode_scoped(page.as_bytes(), &[], Some("scope"))
                .unwrap();
            assert_eq!(decoded.rejects, [], "{table}");
            let at: jiff::Timestamp = at.parse().unwrap();
            assert_eq!(decoded.record_times.value(0), at.as_microsecond());
            let told = decoded.warnings.into_iter();
            let told = told.filter(|warning| warning.rule == "time_ahead");
            told.map(|w| (w.field, w.original)).collect::<Vec<_>>()
        };
        let decoder = any_time.asked_at(asked_at.parse().unwrap());
        let far = "2099-01-04T10:00:00Z";
        let words = format!(
            "{far}: the time is more than a day later than when it was read, and counts when it comes"
        );
        assert_eq!(told(&decoder, near), []);
        assert_eq!(told(&any_time, far), []);
        assert_eq!(told(&decoder, far), [(field.to_owned(), words)]);
    }
}
