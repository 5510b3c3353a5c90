//! Functions that tools ask a PostgreSQL server with, and that say nothing of sales: who asks, what is described, what a setting is.
//!
//! Invariant: a function here reads no table. One that says what this server is says that nothing can be written and that nobody has every right.

use super::catalog::DATABASE;
use super::settings::{DEFAULTS, SERVER_VERSION};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_query::DEFAULT_SCHEMA;

/// Descriptions by the number of a table and of its column, 0 for the table itself.
pub(super) type Descriptions = BTreeMap<(i32, i32), String>;

fn any_arguments() -> Signature {
    Signature::one_of(
        vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
        Volatility::Stable,
    )
}

/// Function that gives one value, whatever it is asked with.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FixedFunction {
    name: &'static str,
    signature: Signature,
    value: ScalarValue,
}

impl ScalarUDFImpl for FixedFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `obj_description` and `col_description`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DescriptionFunction {
    name: &'static str,
    signature: Signature,
    /// True where the second argument is the number of a column, and not the name of a catalog.
    is_of_columns: bool,
    texts: Arc<Descriptions>,
}

impl ScalarUDFImpl for DescriptionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = |at: usize| -> Result<Option<ArrayRef>> {
            let Some(argument) = args.args.get(at) else {
                return Ok(None);
            };
            let array = argument.to_array(args.number_rows)?;
            Ok(Some(cast(&array, &DataType::Int32)?))
        };
        let tables = numbers(0)?;
        let columns = match self.is_of_columns {
            true => numbers(1)?,
            false => None,
        };
        let at = |array: &Option<ArrayRef>, row: usize| match array {
            Some(array) if !array.is_null(row) => array.as_primitive::<Int32Type>().value(row),
            _ => 0,
        };
        let text = |row: usize| self.texts.get(&(at(&tables, row), at(&columns, row)));
        let texts: StringArray = (0..args.number_rows).map(text).collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

/// `current_setting` and `set_config`, which changes nothing here.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SettingFunction {
    name: &'static str,
    signature: Signature,
    /// True for `set_config`, which gives the value that is to be.
    is_change: bool,
}

impl ScalarUDFImpl for SettingFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.args.get(usize::from(self.is_change));
        let Some(wanted) = wanted else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        };
        let array = cast(&wanted.to_array(args.number_rows)?, &DataType::Utf8)?;
        if self.is_change {
            return Ok(ColumnarValue::Array(array));
        }
        let of = |name: Option<&str>| {
            let name = name?.to_lowercase();
            let known = DEFAULTS.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| *value)
        };
        let values: StringArray = array.as_string::<i32>().iter().map(of).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// `has_table_privilege` and those like it, the last argument of which names what is wanted, several with commas between them: one that is allowed will do.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PrivilegeFunction {
    name: &'static str,
    signature: Signature,
}

/// Names of those functions.
const PRIVILEGES: [&str; 7] = [
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_table_privilege",
];
/// Privileges that everybody has; nobody has those that change something.
const ALLOWED: [&str; 4] = ["select", "usage", "connect", "execute"];

impl ScalarUDFImpl for PrivilegeFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(wanted) = args.args.last() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let wanted = cast(&wanted.to_array(args.number_rows)?, &DataType::Utf8)?;
        let are_allowed = wanted
            .as_string::<i32>()
            .iter()
            .map(|wanted| wanted.map(is_allowed));
        let are_allowed: BooleanArray = are_allowed.collect();
        Ok(ColumnarValue::Array(Arc::new(are_allowed)))
    }
}

/// True if one of these privileges is one that everybody has.
fn is_allowed(wanted: &str) -> bool {
    let mut wanted = wanted.split(',').map(str::trim);
    wanted.any(|wanted| {
        ALLOWED
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(wanted))
    })
}

/// The functions, for a user who asks.
pub(super) fn all(user: &str, descriptions: Descriptions) -> Vec<ScalarUDF> {
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let version = format!(
        "PostgreSQL {SERVER_VERSION} (Tillhouse {}, which answers queries alone)",
        env!("CARGO_PKG_VERSION")
    );
    let schemas = [text(DEFAULT_SCHEMA), text("pg_catalog")];
    let schemas = ScalarValue::List(ScalarValue::new_list_nullable(&schemas, &DataType::Utf8));
    let none = || ScalarValue::Utf8(None);
    let fixed = [
        ("version", text(&version)),
        ("current_schema", text(DEFAULT_SCHEMA)),
        ("current_schemas", schemas),
        ("current_catalog", text(DATABASE)),
        ("session_user", text(user)),
        ("current_user", text(user)),
        ("pg_get_userbyid", text("tillhouse")),
        ("pg_advisory_unlock_all", text("")),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("pg_is_other_temp_schema", ScalarValue::Boolean(Some(false))),
        ("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        ("pg_table_size", ScalarValue::Int64(Some(0))),
        ("pg_indexes_size", ScalarValue::Int64(Some(0))),
        ("pg_database_size", ScalarValue::Int64(Some(0))),
        ("pg_tablespace_size", ScalarValue::Int64(Some(0))),
        ("pg_size_pretty", text("")),
        ("pg_function_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_type_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_operator_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_opclass_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_opfamily_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_collation_is_visible", ScalarValue::Boolean(Some(true))),
        // A name that is no type, table or function: drivers ask for types that they know how to read.
        ("to_regtype", ScalarValue::Int32(None)),
        ("to_regclass", ScalarValue::Int32(None)),
        ("to_regnamespace", ScalarValue::Int32(None)),
        ("to_regproc", ScalarValue::Int32(None)),
        ("pg_get_viewdef", none()),
        ("pg_get_ruledef", none()),
        ("pg_get_functiondef", none()),
        ("pg_get_function_identity_arguments", none()),
        ("pg_get_indexdef", none()),
        ("pg_get_serial_sequence", none()),
        ("pg_get_function_arguments", none()),
        ("pg_get_function_result", none()),
        ("pg_get_triggerdef", none()),
        ("pg_tablespace_location", none()),
        ("shobj_description", none()),
        ("inet_server_addr", none()),
        ("inet_server_port", ScalarValue::Int32(None)),
    ];
    let fixed = fixed.map(|(name, value)| {
        ScalarUDF::new_from_impl(FixedFunction {
            name,
            signature: any_arguments(),
            value,
        })
    });
    let texts = Arc::new(descriptions);
    let described = [("obj_description", false), ("col_description", true)];
    let described = described.map(|(name, is_of_columns)| {
        ScalarUDF::new_from_impl(DescriptionFunction {
            name,
            signature: any_arguments(),
            is_of_columns,
            texts: Arc::clone(&texts),
        })
    });
    let settings = [("current_setting", false), ("set_config", true)];
    let settings = settings.map(|(name, is_change)| {
        ScalarUDF::new_from_impl(SettingFunction {
            name,
            signature: any_arguments(),
            is_change,
        })
    });
    let privileges = PRIVILEGES.map(|name| {
        ScalarUDF::new_from_impl(PrivilegeFunction {
            name,
            signature: any_arguments(),
        })
    });
    let functions = fixed.into_iter().chain(described).chain(settings);
    functions.chain(privileges).collect()
}

/// Columns of `pg_description`, which has the descriptions as rows.
pub(super) fn description_fields() -> Vec<Field> {
    vec![
        Field::new("objoid", DataType::Int32, false),
        Field::new("classoid", DataType::Int32, false),
        Field::new("objsubid", DataType::Int32, false),
        Field::new("description", DataType::Utf8, false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_is_allowed_and_nothing_else() {
        for wanted in ["SELECT", "usage", "insert, select", " Connect"] {
            assert!(is_allowed(wanted), "{wanted}");
        }
        for wanted in [
            "INSERT",
            "update,delete",
            "CREATE",
            "SELECT WITH GRANT OPTION",
            "",
        ] {
            assert!(!is_allowed(wanted), "{wanted}");
        }
    }
}
