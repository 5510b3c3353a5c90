//! Sizes of tables, as PostgreSQL's functions tell them: `pg_total_relation_size('transactions')`, `pg_size_pretty(20480)`.
//!
//! Invariant: the size of a table is that of its data files in the run that is asked. A view has none, and so has a table of which its reader may see a part alone: null, and
//! not nought.

use super::catalog_functions::{NumbersByName, any_arguments, name_parts};
use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind};
use tillhouse_query::Session;

/// Functions of the size of a table; no table has anything beside its files.
const OF_TABLES: [&str; 3] = [
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
];
/// Functions of the size of all tables.
const OF_ALL: [&str; 2] = ["pg_database_size", "pg_tablespace_size"];

/// Sizes of the tables of a session in bytes, by schema and name.
pub(super) fn sizes(session: &Session) -> BTreeMap<(String, String), i64> {
    let figures = session.run().into_iter().flat_map(|run| &run.figures);
    let of_table = figures.filter_map(|(path, figures)| {
        let (schema, table) = path.split_once('/')?;
        let bytes = i64::try_from(figures.bytes).ok()?;
        Some(((schema.to_owned(), table.to_owned()), bytes))
    });
    of_table.collect()
}

/// The functions, with the sizes of tables by their numbers and the numbers by their names.
pub(super) fn functions(sizes: BTreeMap<i32, i64>, numbers: &NumbersByName) -> Vec<ScalarUDF> {
    let all = (!sizes.is_empty()).then(|| sizes.values().sum());
    let (sizes, numbers) = (Arc::new(sizes), Arc::new(numbers.clone()));
    let of = |name, kind| {
        ScalarUDF::new_from_impl(SizeFunction {
            name,
            signature: any_arguments(),
            kind,
        })
    };
    let of_tables = OF_TABLES.map(|name| {
        let kind = SizeKind::Table {
            sizes: Arc::clone(&sizes),
            numbers: Arc::clone(&numbers),
        };
        of(name, kind)
    });
    let of_all = OF_ALL.map(|name| of(name, SizeKind::All(all)));
    let pretty = of("pg_size_pretty", SizeKind::Pretty);
    of_tables
        .into_iter()
        .chain(of_all)
        .chain([pretty])
        .collect()
}

/// Function of sizes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SizeFunction {
    name: &'static str,
    signature: Signature,
    kind: SizeKind,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum SizeKind {
    /// The size of a table, by its number or its name.
    Table {
        sizes: Arc<BTreeMap<i32, i64>>,
        numbers: Arc<NumbersByName>,
    },
    /// That of all, where any is known.
    All(Option<i64>),
    /// A size in words.
    Pretty,
}

impl ScalarUDFImpl for SizeFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            SizeKind::Pretty => DataType::Utf8,
            SizeKind::Table { .. } | SizeKind::All(_) => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let SizeKind::All(size) = self.kind {
            return Ok(ColumnarValue::Scalar(ScalarValue::Int64(size)));
        }
        let Some(of) = args.args.first() else {
            return exec_err!("{} takes a value", self.name);
        };
        let of = of.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(match &self.kind {
            SizeKind::Table { sizes, numbers } => Arc::new(of_tables(&of, sizes, numbers)?),
            SizeKind::All(_) | SizeKind::Pretty => {
                let bytes = cast(&of, &DataType::Int64)?;
                let bytes = bytes.as_primitive::<Int64Type>().iter();
                let texts: StringArray = bytes.map(|bytes| bytes.map(pretty)).collect();
                Arc::new(texts)
            }
        }))
    }
}

/// The sizes of tables that are named by numbers or by texts. Errors for a name that no table has.
fn of_tables(
    of: &dyn Array,
    sizes: &BTreeMap<i32, i64>,
    numbers: &NumbersByName,
) -> Result<Int64Array> {
    let size = |oid: Option<i32>| sizes.get(&oid?).copied();
    let is_text = matches!(
        of.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    if !is_text {
        let oids = cast(of, &DataType::Int32)?;
        return Ok(oids.as_primitive::<Int32Type>().iter().map(size).collect());
    }
    let names = cast(of, &DataType::Utf8)?;
    let names = names.as_string::<i32>().iter();
    let of_name = |name: Option<&str>| -> Result<Option<i64>> {
        let Some(name) = name else {
            return Ok(None);
        };
        let number = name_parts(name).and_then(|parts| numbers.get(&parts).copied());
        match number.or_else(|| name.parse().ok()) {
            Some(oid) => Ok(size(Some(oid))),
            None => {
                let error = Error::new(ErrorKind::Query, format!("there is no table {name}"));
                Err(DataFusionError::External(Box::new(error)))
            }
        }
    };
    names.map(of_name).collect()
}

/// Units of sizes: name, the size in it from which on the next is taken, and its own size as a power of two.
const UNITS: [(&str, u64, u32); 6] = [
    ("bytes", 10 * 1024, 0),
    ("kB", 20 * 1024 - 1, 10),
    ("MB", 20 * 1024 - 1, 20),
    ("GB", 20 * 1024 - 1, 30),
    ("TB", 20 * 1024 - 1, 40),
    ("PB", u64::MAX, 50),
];

/// A size in words, with PostgreSQL's units and rounding: `20 kB`. All but bytes are counted in halves until they are rounded.
fn pretty(bytes: i64) -> String {
    let mut halves = bytes;
    let mut shown = format!("{bytes} bytes");
    let mut bits = 0;
    for (name, limit, of_unit) in UNITS {
        if of_unit > 0 {
            // The unit's halves are one bit less.
            let half: i64 = 1 << (of_unit - 1 - bits);
            halves /= half;
            bits = of_unit - 1;
            shown = format!("{} {name}", (halves + halves.signum()) / 2);
        }
        if halves.unsigned_abs() < limit {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    #[test]
    fn sizes_are_told_in_postgresqls_words() {
        for (bytes, told) in [
            (0, "0 bytes"),
            (1, "1 bytes"),
            (-5, "-5 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (10_752, "11 kB"),
            (20_970_495, "20 MB"),
            (123_456_789, "118 MB"),
            (-123_456_789, "-118 MB"),
            (21_474_836_480, "20 GB"),
            (i64::MAX, "8192 PB"),
        ] {
            assert_eq!(pretty(bytes), told, "{bytes}");
        }
    }

    #[test]
    fn a_table_is_known_by_its_number_and_its_name() {
        let sizes = BTreeMap::from([(7, 4096)]);
        let numbers = BTreeMap::from([(vec!["sales".to_owned()], 7)]);
        let by_number = Int32Array::from(vec![Some(7), Some(8), None]);
        let found = of_tables(&by_number, &sizes, &numbers).unwrap();
        assert_eq!(found, Int64Array::from(vec![Some(4096), None, None]));
        let by_name = StringArray::from(vec![Some("Sales"), Some("7"), None]);
        let found = of_tables(&by_name, &sizes, &numbers).unwrap();
        assert_eq!(found, Int64Array::from(vec![Some(4096), Some(4096), None]));
        let unknown = StringArray::from(vec!["nope"]);
        let told = of_tables(&unknown, &sizes, &numbers).unwrap_err();
        assert!(
            told.to_string().contains("there is no table nope"),
            "{told}"
        );
    }
}
