//! Functions that tools ask a PostgreSQL server with, and that say nothing of sales: who asks, what is described, what a setting is.
//!
//! Invariant: a function here reads no table. One that says what this server is says that nothing can be written and that nobody has every right.

use super::catalog::DATABASE;
use super::catalog_sizes;
use super::settings::{Changed, DEFAULTS, OF_CONNECTION, SERVER_VERSION, Settings};
use super::words::tokens;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_query::{DEFAULT_SCHEMA, ParameterLiteral, QueryParameters};

/// Descriptions by the number of a table and of its column, 0 for the table itself.
pub(super) type Descriptions = BTreeMap<(i32, i32), String>;

pub(super) fn any_arguments() -> Signature {
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

/// `current_setting` and `set_config`, which changes nothing here, and refuses what SET refuses.
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
            let names = args.args.first().unwrap_or(wanted);
            let names = cast(&names.to_array(args.number_rows)?, &DataType::Utf8)?;
            let pairs = names.as_string::<i32>().iter();
            let pairs = pairs.zip(array.as_string::<i32>().iter());
            let values: StringArray = pairs
                .map(|(name, value)| name.map_or(Ok(None), |name| changed(name, value)))
                .collect::<Result<_>>()?;
            return Ok(ColumnarValue::Array(Arc::new(values)));
        }
        let of = |name: Option<&str>| {
            let name = name?.to_lowercase();
            let known = DEFAULTS.iter().find(|(known, _)| *known == name);
            // Those of a connection are told by SHOW alone.
            let known = known.filter(|(known, _)| !OF_CONNECTION.contains(known));
            known.map(|(_, value)| *value)
        };
        let values: StringArray = array.as_string::<i32>().iter().map(of).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// The value that a setting has once SET has been asked to change it. Errors where SET does.
fn changed(name: &str, value: Option<&str>) -> Result<Option<String>> {
    let mut settings = Settings::default();
    match settings.set(name, value) {
        Ok(Changed::AsAsked) => Ok(value.map(str::to_owned)),
        Ok(Changed::Not(_)) => Ok(settings.get(name).map(str::to_owned)),
        Err(fault) => exec_err!("{}", fault.message),
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

/// Name of the owner of what is there.
pub(super) const OWNER: &str = "tillhouse";

fn version() -> String {
    format!(
        "PostgreSQL {SERVER_VERSION} (Tillhouse {}, which answers queries alone)",
        env!("CARGO_PKG_VERSION")
    )
}

/// Values with what functions without arguments say of who asks and of this server, by the name that came in and the number of the connection.
pub(super) fn with_calls(given: QueryParameters, user: &str, number: i32) -> QueryParameters {
    let version = version();
    let texts = [
        ("current_catalog", DATABASE),
        ("current_database", DATABASE),
        ("current_schema", DEFAULT_SCHEMA),
        ("current_role", user),
        ("current_user", user),
        ("session_user", user),
        ("user", user),
        ("version", version.as_str()),
    ];
    let given = texts.into_iter().fold(given, |given, (name, text)| {
        given.with_call(name, ParameterLiteral::Text(text.to_owned()))
    });
    let number = ParameterLiteral::Number(number.to_string());
    given
        .with_call("pg_backend_pid", number)
        .with_call("pg_is_in_recovery", ParameterLiteral::Truth(false))
}

/// `pg_table_is_visible`: true of what a name without a schema reads.
#[derive(Debug, PartialEq, Eq, Hash)]
struct VisibleFunction {
    signature: Signature,
    visible: BTreeSet<i32>,
}

impl ScalarUDFImpl for VisibleFunction {
    fn name(&self) -> &str {
        "pg_table_is_visible"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(wanted) = args.args.first() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let wanted = cast(&wanted.to_array(args.number_rows)?, &DataType::Int32)?;
        let wanted = wanted.as_primitive::<Int32Type>().iter();
        let are_visible = wanted.map(|oid| oid.map(|oid| self.visible.contains(&oid)));
        let are_visible: BooleanArray = are_visible.collect();
        Ok(ColumnarValue::Array(Arc::new(are_visible)))
    }
}

/// Numbers by the parts of a name.
pub(super) type NumbersByName = BTreeMap<Vec<String>, i32>;

/// `to_regclass` and `to_regnamespace`: the number of what has a name; null where nothing has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NumberFunction {
    name: &'static str,
    signature: Signature,
    numbers: NumbersByName,
}

impl ScalarUDFImpl for NumberFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(names) = args.args.first() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Int32(None)));
        };
        let names = cast(&names.to_array(args.number_rows)?, &DataType::Utf8)?;
        let names = names.as_string::<i32>().iter();
        let number = |name: Option<&str>| self.numbers.get(&name_parts(name?)?).copied();
        let numbers: Int32Array = names.map(number).collect();
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }
}

/// Parts of a name with dots between them, as they are meant with quotes and without; none where it is no name.
pub(super) fn name_parts(text: &str) -> Option<Vec<String>> {
    let placed = tokens(text);
    let are_apart = placed
        .iter()
        .skip(1)
        .step_by(2)
        .all(|of| of.token.is_sign('.'));
    let parts = placed.iter().step_by(2);
    let parts = parts.map(|of| of.token.name().map(str::to_owned));
    parts
        .collect::<Option<Vec<String>>>()
        .filter(|_| are_apart && placed.len() % 2 == 1)
}

/// Numbers of tables by their names with a schema, and without one where they are read so.
fn class_numbers(tables: &BTreeMap<(String, String), i32>) -> NumbersByName {
    let full = tables
        .iter()
        .map(|((schema, table), oid)| (vec![schema.clone(), table.clone()], *oid));
    let mut numbers: NumbersByName = full.collect();
    for wanted in ["pg_catalog", DEFAULT_SCHEMA] {
        let of_schema = tables.iter().filter(|((schema, _), _)| schema == wanted);
        numbers.extend(of_schema.map(|((_, table), oid)| (vec![table.clone()], *oid)));
    }
    numbers
}

/// The functions, for a user who asks, with the numbers of the tables that are read without a schema, and of all tables and schemas by name, and the sizes of tables.
pub(super) fn all(
    user: &str,
    descriptions: Descriptions,
    visible: BTreeSet<i32>,
    tables: &BTreeMap<(String, String), i32>,
    schemas: &BTreeMap<String, i32>,
    sizes: BTreeMap<i32, i64>,
) -> Vec<ScalarUDF> {
    let classes = class_numbers(tables);
    let sized = catalog_sizes::functions(sizes, &classes);
    let schemas_by_name = schemas
        .iter()
        .map(|(name, oid)| (vec![name.clone()], *oid))
        .collect();
    let numbered = [
        ("to_regclass", classes),
        ("to_regnamespace", schemas_by_name),
    ];
    let numbered = numbered.map(|(name, numbers)| {
        ScalarUDF::new_from_impl(NumberFunction {
            name,
            signature: any_arguments(),
            numbers,
        })
    });
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let version = version();
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
        ("pg_get_userbyid", text(OWNER)),
        ("pg_advisory_unlock_all", text("")),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("pg_is_other_temp_schema", ScalarValue::Boolean(Some(false))),
        ("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        ("pg_indexes_size", ScalarValue::Int64(Some(0))),
        ("pg_function_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_type_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_operator_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_opclass_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_opfamily_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_collation_is_visible", ScalarValue::Boolean(Some(true))),
        // A name that is no type or function: drivers ask for types that they know how to read.
        ("to_regtype", ScalarValue::Int32(None)),
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
    let visible = ScalarUDF::new_from_impl(VisibleFunction {
        signature: any_arguments(),
        visible,
    });
    let functions = functions.chain(privileges).chain(numbered);
    functions.chain([visible]).chain(sized).collect()
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
    fn a_change_says_what_holds() {
        for (name, value, held) in [
            ("search_path", "", ""),
            ("search_path", "unified, public", "unified, public"),
            ("timezone", "Europe/Berlin", "UTC"),
            ("application_name", "x", "x"),
        ] {
            assert_eq!(changed(name, Some(value)).unwrap().as_deref(), Some(held));
        }
        assert!(changed("search_path", Some("hecone")).is_err());
        assert!(changed("client_encoding", Some("LATIN1")).is_err());
    }

    #[test]
    fn a_name_is_of_a_schema_that_it_names_or_of_those_that_are_read() {
        let of = |schema: &str, table: &str, oid| ((schema.to_owned(), table.to_owned()), oid);
        let tables = BTreeMap::from([
            of("hecone", "sales", 1),
            of(DEFAULT_SCHEMA, "sales", 2),
            of("pg_catalog", "pg_class", 3),
            of("pg_catalog", "sales", 4),
        ]);
        let numbers = class_numbers(&tables);
        for (name, number) in [
            ("sales", Some(2)),
            ("Sales", Some(2)),
            ("\"Sales\"", None),
            ("hecone.sales", Some(1)),
            ("\"hecone\" . \"sales\"", Some(1)),
            ("pg_class", Some(3)),
            ("pg_catalog.sales", Some(4)),
            ("hecone", None),
            ("hecone sales", None),
            ("hecone.", None),
            ("", None),
        ] {
            let parts = name_parts(name);
            let found = parts.and_then(|parts| numbers.get(&parts).copied());
            assert_eq!(found, number, "{name}");
        }
    }

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
