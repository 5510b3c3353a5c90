//! Configuration files, with variables and without, and the look of their mistakes.

use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use tillhouse_model::ErrorKind;
use tillhouse_model::yaml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleConfig {
    name: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    ratio: Option<f64>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    unit: Option<SampleUnit>,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, Option<String>>,
    #[serde(default)]
    place: Option<Spanned<String>>,
    #[serde(default)]
    either: Option<OneOrMany>,
    #[serde(default)]
    key: Option<tillhouse_model::Secret>,
    #[serde(default)]
    credential: Option<tillhouse_extract::Credential>,
    #[serde(default)]
    names: tillhouse_extract::NameList,
    #[serde(default)]
    #[serde(rename = "base_url")]
    url: Option<tillhouse_extract::BaseUrl>,
    #[serde(default)]
    inner: Option<Box<SampleConfig>>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum SampleUnit {
    Minor,
    Major,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

const VALUES: &[(&str, &str)] = &[
    ("SECRET", "hunter2: # {"),
    ("HOST", "example.com"),
    ("PORT", "8080"),
    ("MINUS", "-5"),
    ("RATIO", "0.25"),
    ("BIG", "70000"),
    ("YES", "true"),
    ("UNIT", "minor"),
    ("EMPTY", ""),
];

fn file(text: &str, more: &[(&str, &str)]) -> YamlFile {
    let values = VALUES
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    YamlFile {
        path: "sample.yaml".into(),
        text: text.into(),
        environment: Some(Environment::of(values)),
    }
}

fn parse(text: &str) -> Result<SampleConfig> {
    file(text, &[]).parse()
}

fn error(text: &str) -> Error {
    parse(text).unwrap_err()
}

#[test]
fn a_variable_is_replaced_in_every_style() {
    for text in [
        "name: ${HOST}",
        "name: \"${HOST}\"",
        "name: '${HOST}'",
        "{ name: \"${HOST}\" }",
        "{ name: '${HOST}', list: [] }",
        "{name: \"${HOST}\"}",
        "{\"name\":\"${HOST}\"}",
        "name: |-\n  ${HOST}",
        "name: >-\n  ${HOST}",
        "name: &a ${HOST}",
        "name: ${HOST} # ${ABSENT}",
        "# ${ABSENT} ${ ${1}\nname: ${HOST}",
        "name: \"exam${NONE:-ple}.com\"",
        "name: ${NONE:-${HOST}}",
        "name:\n  ${HOST}",
        "\u{feff}name: ${HOST}",
        "name: ${HOST}\r\nport: 1\r\n",
    ] {
        assert_eq!(
            parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}")).name,
            "example.com",
            "{text}"
        );
    }
    // Without quotes a brace would end the mapping around it: that is YAML, and is said.
    for text in [
        "{ name: ${HOST} }",
        "name: x\nlist: [${HOST}]",
        "name: x\nmap: { a: x${HOST}/y }",
    ] {
        let error = error(text);
        assert!(error.hint_text().unwrap().contains("quotes"), "{error:?}");
    }
    let sample = parse("name: http://${HOST}:${PORT}/x?a=${NONE:-b c}#d").unwrap();
    assert_eq!(sample.name, "http://example.com:8080/x?a=b c#d");
    let sample = parse("name: |\n  one ${HOST}\n  two $${HOST} $HOST\n").unwrap();
    assert_eq!(sample.name, "one example.com\ntwo ${HOST} $HOST\n");
}

#[test]
fn it_is_replaced_in_lists_maps_and_below() {
    let sample = parse(
        "name: x\nlist: [\"${HOST}\", 'a${PORT}b', '${NONE:-,}']\nmap: { a: '${HOST}', b: ~, c: '${EMPTY}' }\nplace: '${HOST}'\n\
         either: ['${HOST}']\ninner: { name: \"${HOST}\", inner: { name: '${PORT}', either: \"${PORT}\" } }",
    )
    .unwrap();
    assert_eq!(sample.list, ["example.com", "a8080b", ","]);
    let map: Vec<_> = sample
        .map
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_deref()))
        .collect();
    assert_eq!(
        map,
        [("a", Some("example.com")), ("b", None), ("c", Some(""))]
    );
    let place = sample.place.unwrap();
    assert_eq!(
        (
            place.value.as_str(),
            place.referenced.line(),
            place.referenced.column()
        ),
        ("example.com", 4, 8)
    );
    assert_eq!(
        sample.either,
        Some(OneOrMany::Many(vec!["example.com".into()]))
    );
    let inner = sample.inner.unwrap();
    assert_eq!(inner.name, "example.com");
    assert_eq!(
        inner.inner.unwrap().either,
        Some(OneOrMany::One("8080".into()))
    );
    let sample = parse("{ name: x, base_url: 'http://${HOST}:${PORT}/x' }").unwrap();
    assert_eq!(
        format!("{:?}", sample.url.unwrap()),
        "http://example.com:8080/x"
    );
    let sample = parse("map: &m { a: '${HOST}' }\nname: x\ninner: { name: y, map: *m }").unwrap();
    assert_eq!(
        sample.inner.unwrap().map.get("a"),
        Some(&Some("example.com".into()))
    );
}

#[test]
fn a_value_never_changes_the_yaml_around_it() {
    for value in [
        "",
        " ",
        "a: b",
        "a #b",
        "#",
        "'",
        "\"",
        "\\",
        "\\n",
        "a\nb",
        "\n",
        "---",
        "{",
        "}",
        "{a: b}",
        "[",
        "[a, b]",
        "*a",
        "&a",
        "!a",
        "!!int 1",
        "|",
        ">",
        "%",
        "@",
        "`",
        "-",
        "- a",
        "? a",
        ":",
        ",",
        "null",
        "~",
        "true",
        "no",
        "on",
        "1",
        "007",
        "1e5",
        "0x1F",
        "1_000",
        ".inf",
        ".nan",
        "2024-01-01",
        "12:30:45",
        "<<",
        "=",
        "${HOST}",
        "$$",
        "$",
        "${",
        "é",
        "\u{0}",
        "\t",
    ] {
        for text in [
            "V",
            "\"V\"",
            "'V'",
            "{ name: \"V\" }",
            "[V]",
            "{name: 'V', port: 1}",
        ] {
            let (text, key) = match text {
                "[V]" => ("name: x\nlist: ['${V}', \"${V}\"]".to_owned(), "list"),
                text if text.starts_with('{') => (text.replace('V', "${V}"), "name"),
                text => (
                    format!("name: {}\nport: 1", text.replace('V', "${V}")),
                    "name",
                ),
            };
            let sample: SampleConfig = file(&text, &[("V", value)])
                .parse()
                .unwrap_or_else(|e| panic!("{text} {value:?}: {e:?}"));
            if key == "name" {
                assert_eq!(sample.name, value, "{text}");
            } else {
                assert_eq!(sample.list, [value, value], "{text}");
            }
        }
        let sample: SampleConfig = file(
            "name: x\nkey: \"${V}\"\ncredential: '${V}'\nunit: ~",
            &[("V", value)],
        )
        .parse()
        .unwrap();
        assert_eq!(sample.key.unwrap().expose(), value);
        assert!(
            matches!(sample.credential, Some(tillhouse_extract::Credential::Value(s)) if s.expose() == value),
            "{value}"
        );
    }
}

#[test]
fn a_number_or_boolean_is_read_where_one_is_wanted() {
    for text in [
        "name: x\nport: ${PORT}\noffset: ${MINUS}\nratio: ${RATIO}\nstrict: ${YES}\nunit: ${UNIT}",
        "{ name: x, port: '${PORT}', offset: \"${MINUS}\", ratio: '${RATIO}', strict: \"${YES}\", unit: '${UNIT}' }",
        "name: x\nport: 80${NONE:-80}\noffset: -${NONE:-5}\nratio: 0.${NONE:-25}\nstrict: ${NONE:-on}\nunit: min${NONE:-or}",
    ] {
        let sample = parse(text).unwrap();
        assert_eq!(
            (sample.port, sample.offset, sample.ratio, sample.strict),
            (Some(8080), -5, Some(0.25), true),
            "{text}"
        );
        assert_eq!(sample.unit, Some(SampleUnit::Minor));
    }
    let sample = parse("{ name: 12, port: 1_000, offset: 0x10, ratio: 2, strict: no }").unwrap();
    assert_eq!(
        (
            sample.name.as_str(),
            sample.port,
            sample.offset,
            sample.ratio
        ),
        ("12", Some(1000), 16, Some(2.0))
    );
    for text in [
        "port: ${SECRET}",
        "port: '${BIG}'",
        "offset: ${SECRET}",
        "strict: ${PORT}",
        "ratio: ${HOST}",
        "unit: ${SECRET}",
    ] {
        let error = error(&format!("name: x\n{text}"));
        assert!(
            error.to_string().contains("sample.yaml:2:"),
            "{text}: {error}"
        );
        assert!(
            !format!("{error:?}").contains("hunter2"),
            "{text}: {error:?}"
        );
    }
    let sample: SampleConfig = file("{ name: x, names: \"${N}\" }", &[("N", "12, 34")])
        .parse()
        .unwrap();
    assert_eq!(sample.names.as_slice(), ["12", "34"]);
}

#[test]
fn a_dollar_sign_by_itself_is_one() {
    for (text, name) in [
        ("name: $5", "$5"),
        ("name: pa$word", "pa$word"),
        ("name: pa$$word", "pa$word"),
        ("name: $HOST", "$HOST"),
    ] {
        assert_eq!(parse(text).unwrap().name, name, "{text}");
    }
}

#[test]
fn a_file_without_variables_says_so() {
    let parse = |text: &str| {
        YamlFile::of("labels.yaml".into(), text.into()).parse::<serde::de::IgnoredAny>()
    };
    for (text, found, place) in [
        ("a: x\nb: ${HOST}\n", "`${HOST}` in `b`", "labels.yaml:2:4"),
        (
            "a: x\nb: \"http://${HOST:-y}\"\n",
            "`${HOST}` in `b`",
            "labels.yaml:2:4",
        ),
        ("b: { c: 'pa$$word' }\n", "`$$` in `b.c`", "labels.yaml:1:9"),
        ("'${HOST}': x\n", "`${HOST}`", "labels.yaml:1:1"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            error.message().starts_with(found) && error.to_string().contains(place),
            "{error}"
        );
        assert!(error.hint_text().unwrap().contains("pipeline.yaml"));
    }
    for text in [
        "a: 5$\n",
        "a: ^[A-Z]{2}$\n",
        "a: ${\n",
        "description: see ${HOST}\n",
        "a: x # ${HOST}\n",
    ] {
        parse(text).unwrap();
    }
}

#[test]
fn a_variable_in_a_key_is_told_and_hides_nothing_else() {
    for (text, what, place) in [
        ("name: x\nmap: { '${HOST}': y }", "`${HOST}`", "2:8"),
        (
            "name: x\nmap:\n  a${NONE:-b}: '${HOST}'",
            "`${NONE}`",
            "3:3",
        ),
        ("name: x\nmap:\n  a$$b: y", "`$$`", "3:3"),
        (
            "name: x\ninner: { name: y, map: { \"${ABSENT}\": z } }",
            "`${ABSENT}`",
            "2:26",
        ),
    ] {
        let error = error(text);
        let told = format!(
            "{what} stands in a key, and keys know no variables (file sample.yaml:{place})"
        );
        assert_eq!(error.to_string(), told, "{text}");
        assert!(error.hint_text().unwrap().contains("values"), "{text}");
    }
    let both = error("name: x\nmap: { '${HOST}': '${ABSENT}' }").to_string();
    assert!(
        both.contains("stands in a key") && both.contains("environment variable ABSENT"),
        "{both}"
    );
    for key in ["a$b", "$", "a$HOST"] {
        let sample = parse(&format!("name: x\nmap: {{ {key}: y }}")).unwrap();
        assert_eq!(sample.map.get(key), Some(&Some("y".into())), "{key}");
    }
}

#[test]
fn a_missing_variable_names_the_key_that_wanted_it() {
    for (text, wanted) in [
        (
            "port: 1\nname: ${ABSENT}",
            "the key `name` wants the environment variable ABSENT, which is not set (file sample.yaml:2:7)",
        ),
        (
            "name: \"${ABSENT}\"",
            "the key `name` wants the environment variable ABSENT, which is not set (file sample.yaml:1:8)",
        ),
        (
            "name: x\ninner: { name: 'http://${HOST}:${ABSENT}' }",
            "the key `inner.name` wants the environment variable ABSENT, which is not set (file sample.yaml:2:32)",
        ),
        (
            "name: x\nlist:\n  - ok\n  - $${HOST}${ABSENT}",
            "the key `list` wants the environment variable ABSENT, which is not set (file sample.yaml:4:13)",
        ),
        (
            "name: x\nmap:\n  a: |\n    one\n    é ${ABSENT}\n",
            "the key `map.a` wants the environment variable ABSENT, which is not set (file sample.yaml:5:7)",
        ),
        (
            "name: ${HOST:-x}${NONE:-${ABSENT}}",
            "the key `name` wants the environment variable ABSENT, which is not set (file sample.yaml:1:25)",
        ),
    ] {
        let error = error(text);
        assert_eq!(error.to_string(), wanted, "{text}");
        assert!(error.hint_text().unwrap().contains("ABSENT"));
    }
}

#[test]
fn references_that_are_none_are_mistakes_with_a_place() {
    for (text, wanted) in [
        (
            "name: a${HOST",
            "a variable of the key `name` is not closed: `${` without `}` (file sample.yaml:1:8)",
        ),
        (
            "name: \"${HOST\"\nport: 1",
            "a variable of the key `name` is not closed: `${` without `}` (file sample.yaml:1:8)",
        ),
        (
            "name: x\nlist: ['${1A}']",
            "what stands in `${...}` of the key `list` is no variable (file sample.yaml:2:9)",
        ),
        (
            "name: ${}",
            "what stands in `${...}` of the key `name` is no variable (file sample.yaml:1:7)",
        ),
        (
            "name: ${my-host}",
            "what stands in `${...}` of the key `name` is no variable (file sample.yaml:1:7)",
        ),
        (
            "name: 'hunter2${!x}'",
            "what stands in `${...}` of the key `name` is no variable (file sample.yaml:1:15)",
        ),
    ] {
        let error = error(text);
        assert_eq!(error.to_string(), wanted, "{text}");
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn mistakes_point_at_line_and_column_and_show_no_value() {
    let unknown = error("name: x\nport: many");
    assert!(unknown.to_string().contains("sample.yaml:2:7"), "{unknown}");
    for text in [
        "name: x\nprot: 1",
        "name: ${SECRET}\nprot: 1",
        "name: '${SECRET}'\nprot: ${HOST}",
    ] {
        let error = error(text);
        assert!(
            error
                .to_string()
                .starts_with("unknown key `prot`; did you mean `port`?"),
            "{error}"
        );
        assert!(error.to_string().contains("sample.yaml:2:"), "{error}");
    }
    for text in [
        "name: ['${SECRET}']",
        "name: { a: \"${SECRET}\" }",
        "name: x\nlist: ${SECRET}",
        "name: x\nmap: '${SECRET}'",
        "name: x\nbase_url: '${SECRET}'",
        "name: x\nbase_url: 'http://${SECRET}'",
        "name: x\nbase_url: 'http://a/?${SECRET}'",
        "name: x\nnames: { a: \"${SECRET}\" }",
        "name: x\ncredential: { fil: \"${SECRET}\" }",
        "name: x\ninner: '${SECRET}'",
        "${SECRET}",
        "- ${SECRET}",
    ] {
        let error = error(text);
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
        assert!(error.to_string().contains("sample.yaml"), "{error}");
    }
    for text in ["name: [", "name: \"${HOST}", "name: {", "name: ${HOST}: x"] {
        assert!(error(text).to_string().contains("sample.yaml"), "{text}");
    }
}

#[test]
fn errors_after_parsing_show_a_variable_instead_of_its_value() {
    let text = "name: '${SECRET}'\nmap: { a: '${S}', b: 'http://${HOST}/x', c: 2026-13-01 }\nlist: ['${L}']\n";
    let file = file(text, &[("S", "1m"), ("L", "a, b")]);
    let told = |message: &str| file.annotate_error(Error::config(message).hint(message));
    for (message, wanted) in [
        (
            "name \"hunter2: # {\" is no name",
            "name \"'${SECRET}'\" is no name (file sample.yaml:1:7)",
        ),
        (
            "map.a \"1m\" is not 1m5",
            "map.a \"${S}\" is not 1m5 (file sample.yaml:2:11)",
        ),
        (
            "map.b: \"http://example.com/x\"",
            "map.b: \"http://${HOST}/x\" (file sample.yaml:2:22)",
        ),
        (
            "map.b: \"http://example.com\"",
            "map.b: \"http://${HOST}\" (file sample.yaml:2:22)",
        ),
        (
            "the map.b EXAMPLE.COM, example.com",
            "the map.b EXAMPLE.COM, example.com (file sample.yaml:2:22)",
        ),
        (
            "\"hunter2: # {\" or \"hunter2\"",
            "\"${SECRET}\" or \"hunter2\" (file sample.yaml)",
        ),
        ("list: \"a\"", "list: \"${L}\" (file sample.yaml:3:7)"),
    ] {
        let wanted = wanted.replace("\"'", "\"").replace("'\"", "\"");
        assert_eq!(told(message).to_string(), wanted);
    }
}

#[test]
fn what_tillhouse_says_itself_stays_whatever_variables_hold() {
    let values = [
        "name",
        "page",
        "2026",
        "map",
        "ABSENT",
        "port",
        "a",
        "file",
        "sample.yaml",
        "date",
        "nor",
        "known",
    ];
    for value in values {
        let of = |text: &str| file(text, &[("X", value), ("NAME", value)]);
        let error = of("name: '${X}'\nmap: { a: '${NAME}' }\nport: '${ABSENT}'")
            .parse::<SampleConfig>()
            .unwrap_err();
        let text = "the key `port` wants the environment variable ABSENT, which is not set (file sample.yaml:3:8)";
        assert_eq!(error.to_string(), text);
        let told = of("name: '${X}'\nlist: ['${NAME}']\nplace: 2026-13-01");
        let message = "`place` is \"2026-13-01\", which is neither a date nor a time";
        let error = told.annotate_error(
            Error::config(message)
                .at("file", "sample.yaml:3:8")
                .hint("Lower sync.page_size."),
        );
        assert_eq!(
            error.to_string(),
            format!("{message} (file sample.yaml:3:8)")
        );
        assert_eq!(error.hint_text(), Some("Lower sync.page_size."));
        let error = of("name: '${X}'\nprot: 1")
            .parse::<SampleConfig>()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("unknown key `prot`; did you mean `port`? (file sample.yaml:2:1)")
        );
    }
    // Two variables of one value: the one is named that the message is about.
    let both = file(
        "name: '${A}'\nplace: '${B}'",
        &[("A", "NOPE"), ("B", "NOPE")],
    );
    let error =
        both.annotate_error(Error::config("`place` is \"NOPE\"").at("file", "sample.yaml:2:8"));
    assert_eq!(
        error.to_string(),
        "`place` is \"${B}\" (file sample.yaml:2:8)"
    );
    // Set to nothing.
    let blank = file("name: '${A}'", &[("A", " ")]).annotate_error(Error::config("name is empty"));
    assert!(
        blank
            .hint_text()
            .unwrap()
            .contains("variable A is set to nothing"),
        "{blank:?}"
    );
}

#[test]
fn all_mistakes_are_told_at_once_with_an_example_each() {
    let error =
        error("port: x\nprot: 1\nstrict: 7\nlist: a\nunit: mayor\nmap: [1]\ninner: { name: [] }\n");
    let all: Vec<String> = error.parts().iter().map(ToString::to_string).collect();
    for wanted in [
        "`port`: expected a whole number that is not negative, found \"x\" (file sample.yaml:1:7)",
        "unknown key `prot`; did you mean `port`? (file sample.yaml:2:1)",
        "`strict`: expected true or false, found \"7\" (file sample.yaml:3:9)",
        "`list`: expected a list, found a text (file sample.yaml:4:7)",
        "`unit`: `mayor` is not known; did you mean `major`? (file sample.yaml:5:7)",
        "`map`: expected keys and values, found a list (file sample.yaml:6:6)",
        "`inner.name`: expected a text, found a list (file sample.yaml:7:16)",
        "the key `name` is missing (file sample.yaml:1:1)",
    ] {
        assert!(all.iter().any(|told| told == wanted), "{wanted}\n{all:#?}");
    }
    assert_eq!(all.len(), 8, "{all:#?}");
    assert!(
        error.parts().iter().all(|part| part.hint_text().is_some()),
        "{error:?}"
    );
}

#[test]
fn what_is_no_yaml_is_told_to_people() {
    for (text, says, place) in [
        ("", "the key `name` is missing", "1:1"),
        ("# nothing\n", "the key `name` is missing", "1:1"),
        (
            "name: x\nlist:\n\t- a\n",
            "a tab stands where YAML wants blanks",
            "3:",
        ),
        (
            "name: x\nname: y\n",
            "the key `name` stands here twice",
            "2:1",
        ),
        (
            "name: x\n'name': y\n",
            "the key `name` stands here twice",
            "2:1",
        ),
        (
            "sales_types: { 1: test, \"1\": void }\n",
            "the key `1` stands here twice",
            "1:25",
        ),
        (
            "- a:\n    true: x\n    'true': y\n",
            "the key `true` stands here twice",
            "3:5",
        ),
        (
            "name: x\n---\nname: y\n",
            "a second document begins here",
            "3:",
        ),
        ("name: { a\n", "is not closed", "1:"),
        ("name: [a}\n", "is not closed", "1:"),
        ("name: \"a\n", "a quote is opened and never closed", ""),
        (
            "name: 'a' b\n",
            "something stands after the closing quote",
            "1:",
        ),
        (
            "name: *a\n",
            "refers to a name that no `&` before it gives",
            "1:",
        ),
        ("name: @a\n", "means something else in YAML", "1:"),
        ("name: x\n port: 1\n", "", "2:"),
        ("name: x\nport 1\n", "a `:` is missing after the key", "2:"),
        ("? [a]\n: b\n", "a key is a list or a map here", "1:"),
        ("~: b\n", "a key is empty here", "1:"),
        (
            "map: { <<: 3 }\nname: x\n",
            "`<<` wants keys and values",
            "1:",
        ),
        ("name: !!int x\n", "the value has a tag", "1:"),
        (
            "- name\n",
            "the file: expected keys and values, found a list",
            "1:1",
        ),
        (
            "name\n",
            "the file: expected keys and values, found a text",
            "1:1",
        ),
        (
            "name: ${NONE:-a: b}\n",
            "`: ` and ` #` within a variable's default",
            "1:",
        ),
        ("name: ${NONE:-a #b}\n", "is not closed", "1:"),
    ] {
        let error = parse(text).map(|sample| sample.name).unwrap_err();
        // Behind what is wrong with the YAML, the rest of the file is read too.
        let parts = match error.parts() {
            [] => std::slice::from_ref(&error),
            parts => parts,
        };
        let is_told = parts.iter().any(|part| {
            let shown = part.to_string();
            shown.contains(says) && shown.contains(&format!("sample.yaml:{place}"))
        });
        assert!(is_told, "{text:?}: {error:?}");
        let are_all_hinted = parts.iter().all(|part| part.hint_text().is_some());
        assert!(are_all_hinted, "{text:?}: {error:?}");
        for foreign in [
            "mapping",
            "sequence",
            "scalar",
            "serde",
            "Option",
            "struct",
            "enum",
            "unit value",
            "Policy",
        ] {
            assert!(
                !format!("{error:?}").contains(foreign),
                "{text:?}: {error:?}"
            );
        }
    }
    assert!(
        error("name: ${NONE:-a #b}\n")
            .hint_text()
            .unwrap()
            .contains("quotes")
    );
    // A tag and a key too many hide nothing else.
    let told = error("name: !env X\nport: x\nport: 2\nstrict: 7\n").to_string();
    for problem in [
        "which makes a tag of it",
        "the key `port` stands here twice",
        "`port`: expected a whole number",
        "`strict`: expected true or false",
    ] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
    assert!(!told.contains("is missing"), "{told}");
    // Windows' line ends, a byte order mark, anchors and merges are no mistakes.
    let text = "\u{feff}base: &b { a: '1' }\r\nname: x\r\nmap: { <<: *b, c: d }\r\n";
    let read = file(text, &[]).tree().unwrap().root;
    assert_eq!(read.find(&["map", "a"]).and_then(YamlNode::text), Some("1"));
}

#[test]
fn variables_are_found_once_and_not_in_comments() {
    let variables = |text: &str| YamlFile::of("t.yaml".into(), text.into()).variables();
    let text =
        "a: ${X}/${Y:-1}#${W}\n# b: ${Z}\nc: \"${X} # ${V:-${U}}\"\nd: { e: ['$${T}'] } # ${S}";
    assert_eq!(variables(text).unwrap(), ["X", "Y", "W", "V", "U"]);
    assert!(
        variables("a: ${X")
            .unwrap_err()
            .to_string()
            .contains("t.yaml:1:4")
    );
}

#[test]
fn a_value_of_the_environments_file_closes_its_quotation_marks() {
    let load = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(".env"),
            format!("FIRST=1\nTILLHOUSE_TEST_QUOTED={text}\n"),
        )
        .unwrap();
        Environment::load(dir.path()).map(|all| {
            all.get("TILLHOUSE_TEST_QUOTED")
                .unwrap_or_default()
                .to_owned()
        })
    };
    for (text, value) in [
        ("abc", "abc"),
        ("\"abc\"", "abc"),
        ("'abc'", "abc"),
        ("'\"abc'", "\"abc"),
        ("\"\"", ""),
        ("\"a b\"  # a comment", "a b"),
        ("abc\"", "abc\""),
        ("it's", "it's"),
        ("", ""),
    ] {
        assert_eq!(load(text).unwrap(), value, "{text}");
    }
    for text in [
        "\"hunter2",
        "'hunter2",
        "\"hunter2'",
        "\"",
        "\"hunter2\" and more",
    ] {
        let error = load(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(".env:2") && !shown.contains("hunter2"),
            "{text}: {shown}"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[test]
fn too_many_levels_and_aliases_are_told_as_such() {
    let laughs: String = ["a", "b", "c", "d", "e", "f"]
        .windows(2)
        .map(|pair| {
            format!(
                "{1}: &{1} [{0}]\n",
                vec![format!("*{}", pair[0]); 9].join(", "),
                pair[1]
            )
        })
        .collect();
    for (text, told) in [
        (format!("name: {}", "[".repeat(5_000)), "too deeply"),
        (
            format!(
                "a: &a [x, x, x, x, x, x, x, x, x]\n{laughs}g: [*f, *f, *f, *f, *f, *f, *f, *f, *f]\n"
            ),
            "larger than a configuration",
        ),
    ] {
        let error = YamlFile::of(PathBuf::from("x.yaml"), text)
            .parse::<SampleConfig>()
            .unwrap_err();
        let says = error.to_string();
        assert!(
            says.contains(told) || says.contains("aliases (`*`) make this too large"),
            "{says}"
        );
    }
}

#[test]
fn a_variable_that_a_file_may_set_which_cannot_be_read_is_not_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = dir.path().join("t.yaml");
    let text = "key: ${TILLHOUSE_TEST_UNREAD}\nother: ${TILLHOUSE_TEST_UNREAD_TOO}\n";
    std::fs::write(&yaml, text).unwrap();
    let said = || {
        let (environment, _) = Environment::load_partly(dir.path());
        let file = YamlFile::read(&yaml, &environment).unwrap();
        let problems = file.tree().map(|tree| tree.problems);
        let told = problems.unwrap_or_else(|error| vec![error]);
        told.iter().map(ToString::to_string).collect::<String>()
    };
    assert!(said().contains("which is not set"), "{}", said());
    std::fs::create_dir(dir.path().join(".env")).unwrap();
    let (_, problems) = Environment::load_partly(dir.path());
    let text = said();
    assert_eq!(text, problems[0].to_string(), "the cause, once");
    assert!(!text.contains("not set"), "{text}");
}
