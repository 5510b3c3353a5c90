//! Names of types as SQL has them: `varchar`, `decimal(18,4)`, `timestamptz`.
//!
//! Invariant: a name is one that `CAST(x AS ...)` takes, and it gives that type or one that holds the same values; parts of a struct or a map, which CAST
//! does not take, are named alike.

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result};
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, DescribeAlias};
use std::sync::Arc;

/// Column that has names of types, in the tables of `information_schema` and in what DESCRIBE gives.
const DATA_TYPE: &str = "data_type";

/// Name of a type in SQL's words.
///
/// ```
/// use arrow::datatypes::DataType;
/// use tillhouse_query::sql_type;
///
/// assert_eq!(sql_type(&DataType::Decimal128(18, 4)), "decimal(18,4)");
/// assert_eq!(sql_type(&DataType::new_list(DataType::Utf8, true)), "varchar[]");
/// ```
pub fn sql_type(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar",
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "integer unsigned",
        DataType::UInt64 => "bigint unsigned",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Interval(
            IntervalUnit::MonthDayNano | IntervalUnit::DayTime | IntervalUnit::YearMonth,
        )
        | DataType::Duration(_) => "interval",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Null => "null",
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => return format!("decimal({digits},{scale})"),
        DataType::Dictionary(_, values) => return sql_type(values),
        DataType::RunEndEncoded(_, values) => return sql_type(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => return format!("{}[]", sql_type(item.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), sql_type(field.data_type())))
                .collect();
            return format!("struct({})", parts.join(", "));
        }
        DataType::Map(entries, _) => {
            let parts: Vec<String> = match entries.data_type() {
                DataType::Struct(fields) => {
                    let types = fields.iter().map(|field| sql_type(field.data_type()));
                    types.collect()
                }
                other => vec![sql_type(other)],
            };
            return format!("map({})", parts.join(", "));
        }
        DataType::Union(..) => "union",
    };
    name.to_owned()
}

/// The columns of a table, with the engine's names of types as SQL has them.
pub(crate) fn with_sql_types(schema: &Schema) -> Vec<Expr> {
    let column = |field: &Arc<Field>| {
        let plain = Expr::Column(Column::from_name(field.name()));
        if field.name() != DATA_TYPE || field.data_type() != &DataType::Utf8 {
            return plain;
        }
        let function = SqlTypeFunction {
            signature: Signature::uniform(1, vec![DataType::Utf8], Volatility::Immutable),
        };
        ScalarUDF::new_from_impl(function)
            .call(vec![plain])
            .alias(DATA_TYPE)
    };
    schema.fields().iter().map(column).collect()
}

/// A table with the engine's names of types as SQL has them.
pub(crate) fn in_sql_types(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    if schema.field_with_name(DATA_TYPE).is_err() {
        return Ok(table);
    }
    let plan = LogicalPlanBuilder::scan("types", provider_as_source(table), None)?
        .project(with_sql_types(&schema))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The query that a statement describes, and true; any other statement as it is.
pub(crate) fn query_described(statement: Statement) -> (Statement, bool) {
    let Statement::Statement(inner) = statement else {
        return (statement, false);
    };
    match *inner {
        ast::Statement::Explain {
            describe_alias: DescribeAlias::Describe | DescribeAlias::Desc,
            statement: query,
            ..
        } if matches!(query.as_ref(), ast::Statement::Query(_)) => {
            (Statement::Statement(query), true)
        }
        other => (Statement::Statement(Box::new(other)), false),
    }
}

/// The columns of a query, called as in its plan, with the types that come: the analyzer says what values of several types become.
pub(crate) fn columns_that_come(state: &SessionState, plan: &LogicalPlan) -> Result<SchemaRef> {
    let analyzed =
        state
            .analyzer()
            .execute_and_check(plan.clone(), state.config_options(), |_, _| {})?;
    let written = plan.schema();
    let fields: Vec<Field> = written
        .fields()
        .iter()
        .zip(analyzed.schema().fields())
        .map(|(field, comes)| {
            let data_type = comes.data_type().clone();
            field.as_ref().clone().with_data_type(data_type)
        })
        .collect();
    let metadata = written.as_arrow().metadata().clone();
    Ok(Arc::new(Schema::new_with_metadata(fields, metadata)))
}

/// DESCRIBE of a table, in SQL's words; other plans stay what they are.
pub(crate) fn described(plan: LogicalPlan) -> Result<LogicalPlan> {
    match &plan {
        LogicalPlan::DescribeTable(described) => description(&described.schema),
        _ => Ok(plan),
    }
}

/// Columns with their types, in SQL's words.
pub(crate) fn description(schema: &Schema) -> Result<LogicalPlan> {
    let fields = schema.fields();
    let texts = |text: fn(&Field) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            fields.iter().map(|field| text(field)),
        ))
    };
    let is_nullable = |field: &Field| if field.is_nullable() { "YES" } else { "NO" }.to_owned();
    let batch = RecordBatch::try_new(
        Arc::new(LogicalPlan::describe_schema()),
        vec![
            texts(|field| field.name().clone()),
            texts(|field| sql_type(field.data_type())),
            texts(is_nullable),
        ],
    )?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    LogicalPlanBuilder::scan("described", provider_as_source(Arc::new(table)), None)?.build()
}

/// The name of a type in SQL's words, of the name that the engine has for it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SqlTypeFunction {
    signature: Signature,
}

impl ScalarUDFImpl for SqlTypeFunction {
    fn name(&self) -> &'static str {
        "sql_type"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [of] = args.args.as_slice() else {
            return datafusion::common::internal_err!("a type has one name");
        };
        let names = of.to_array(args.number_rows)?;
        let named: StringArray = names
            .as_string::<i32>()
            .iter()
            .map(|name| name.map(of_engine))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(named)))
    }
}

/// The name of a type in SQL's words; what is no type of the engine's stays as it is.
fn of_engine(name: &str) -> String {
    // Of arguments the engine names families of types.
    let of_family = || {
        let columns = name
            .replace("String", "Utf8")
            .replace("Decimal(", "Decimal128(")
            .replace("Time(", "Time64(");
        match columns.as_str() {
            "Date" => Ok(DataType::Date32),
            columns => columns.parse(),
        }
    };
    let found = name.parse::<DataType>().or_else(|_| of_family());
    found.map_or_else(|_| name.to_owned(), |data_type| sql_type(&data_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, QueryParameters, collect};
    use arrow::datatypes::{Fields, TimeUnit};

    #[test]
    fn parts_of_types_are_named_too() {
        let point = DataType::Struct(Fields::from(vec![
            Field::new("name", DataType::Utf8View, true),
            Field::new("at", DataType::new_list(DataType::Date32, true), true),
        ]));
        let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let entries = Field::new_struct(
            "entries",
            vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Decimal128(18, 6), true),
            ],
            false,
        );
        for (data_type, name) in [
            (point, "struct(name varchar, at date[])"),
            (words, "varchar"),
            (
                DataType::Map(Arc::new(entries), false),
                "map(varchar, decimal(18,6))",
            ),
            (
                DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
                "timestamptz",
            ),
            (DataType::Timestamp(TimeUnit::Second, None), "timestamp"),
        ] {
            assert_eq!(sql_type(&data_type), name);
        }
    }

    #[test]
    fn the_engine_s_names_are_read_and_other_words_stay() {
        for (engine, name) in [
            ("Decimal128(18, 4)", "decimal(18,4)"),
            ("Decimal(38, 10)", "decimal(38,10)"),
            ("Timestamp(µs, \"+00:00\")", "timestamptz"),
            ("String", "varchar"),
            ("List(String)", "varchar[]"),
            ("Date", "date"),
            (
                "List(Struct(\"a b\": Utf8, \"n\": non-null Int64), field: 'element')",
                "struct(a b varchar, n bigint)[]",
            ),
            ("TABLE", "TABLE"),
        ] {
            assert_eq!(of_engine(engine), name, "{engine}");
        }
    }

    #[tokio::test]
    async fn a_cast_takes_every_name_and_gives_its_type() {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        for name in [
            "varchar",
            "boolean",
            "tinyint",
            "smallint",
            "integer",
            "bigint",
            "tinyint unsigned",
            "smallint unsigned",
            "integer unsigned",
            "bigint unsigned",
            "real",
            "double",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "interval",
            "bytea",
            "decimal(18,4)",
            "varchar[]",
        ] {
            let stream = session
                .query(&format!("SELECT CAST(NULL AS {name})"))
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(sql_type(stream.schema().field(0).data_type()), name);
        }
    }

    #[tokio::test]
    async fn described_types_are_those_that_come() {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        for query in [
            "SELECT 1 AS a UNION ALL SELECT 1.5",
            "SELECT CASE WHEN count(*) = 0 THEN 0 ELSE sum(x) / count(*) END AS a FROM (VALUES (1.50)) AS v(x)",
            "SELECT ARRAY[1.5, 2::float8] AS a",
            "SELECT CASE WHEN 1 = 2 THEN DATE '2026-01-01' ELSE now() END AS a",
            "SELECT COALESCE(CAST(1 AS DOUBLE PRECISION), 1.5) AS a",
            "SELECT 1 AS a, 'x' AS b",
        ] {
            let stream = session.query(query).await.unwrap();
            let first = stream.schema();
            let none = QueryParameters::default();
            let shape = session.shape_written(query, &none, (1, 1)).await;
            let shape = shape.unwrap().columns;
            let described = session.query(&format!("DESCRIBE {query}")).await.unwrap();
            let described = collect(described).await.unwrap();
            let batch = described.first().unwrap();
            assert_eq!(batch.num_rows(), first.fields().len(), "{query}");
            for (row, field) in first.fields().iter().enumerate() {
                let text = |column: usize| batch.column(column).as_string::<i32>().value(row);
                assert_eq!(text(0), field.name(), "{query}");
                assert_eq!(text(1), sql_type(field.data_type()), "{query}");
                assert_eq!(shape.field(row).data_type(), field.data_type(), "{query}");
            }
        }
    }
}
