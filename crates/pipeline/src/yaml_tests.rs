//! What a configuration file may say, with variables and without, and what its mistakes look like.

use super::*;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
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
    unit: Option<Unit>,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, Option<String>>,
    #[serde(default)]
    place: Option<Spanned<String>>,
    #[serde(default)]
    either: Option<Either>,
    #[serde(default)]
    key: Option<tillhouse_model::Secret>,
    #[serde(default)]
    credential: Option<tillhouse_extract::Credential>,
    #[serde(default)]
    names: tillhouse_extract::Names,
    #[serde(default)]
    #[serde(rename = "base_url")]
    url: Option<tillhouse_extract::BaseUrl>,
    #[serde(default)]
    inner: Option<Box<Sample>>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Minor,
    Major,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Either {
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
    let values = VALUES.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    YamlFile { path: "sample.yaml".into(), text: text.into(), environment: Some(Environment::of(values)) }
}

fn parse(text: &str) -> Result<Sample> {
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
        "name: !!str ${HOST}",
        "name: &a ${HOST}",
        "name: ${HOST} # ${ABSENT}",
        "# ${ABSENT} ${ ${1}\nname: ${HOST}",
        "name: \"exam${NONE:-ple}.com\"",
        "name: ${NONE:-${HOST}}",
        "name:\n  ${HOST}",
        "\u{feff}name: ${HOST}",
        "name: ${HOST}\r\nport: 1\r\n",
    ] {
        assert_eq!(parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}")).name, "example.com", "{text}");
    }
    // Without quotes a brace would end the mapping around it: that is YAML, and is said.
    for text in ["{ name: ${HOST} }", "name: x\nlist: [${HOST}]", "name: x\nmap: { a: x${HOST}/y }"] {
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
    let map: Vec<_> = sample.map.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
    assert_eq!(map, [("a", Some("example.com")), ("b", None), ("c", Some(""))]);
    let place = sample.place.unwrap();
    assert_eq!((place.value.as_str(), place.referenced.line(), place.referenced.column()), ("example.com", 4, 8));
    assert_eq!(sample.either, Some(Either::Many(vec!["example.com".into()])));
    let inner = sample.inner.unwrap();
    assert_eq!(inner.name, "example.com");
    assert_eq!(inner.inner.unwrap().either, Some(Either::One("8080".into())));
    let sample = parse("{ name: x, base_url: 'http://${HOST}:${PORT}/x' }").unwrap();
    assert_eq!(format!("{:?}", sample.url.unwrap()), "http://example.com:8080/x");
    let sample = parse("map: &m { a: '${HOST}' }\nname: x\ninner: { name: y, map: *m }").unwrap();
    assert_eq!(sample.inner.unwrap().map.get("a"), Some(&Some("example.com".into())));
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
        for text in ["V", "\"V\"", "'V'", "{ name: \"V\" }", "[V]", "{name: 'V', port: 1}"] {
            let (text, key) = match text {
                "[V]" => ("name: x\nlist: ['${V}', \"${V}\"]".to_owned(), "list"),
                text if text.starts_with('{') => (text.replace('V', "${V}"), "name"),
                text => (format!("name: {}\nport: 1", text.replace('V', "${V}")), "name"),
            };
            let sample: Sample =
                file(&text, &[("V", value)]).parse().unwrap_or_else(|e| panic!("{text} {value:?}: {e:?}"));
            if key == "name" {
                assert_eq!(sample.name, value, "{text}");
            } else {
                assert_eq!(sample.list, [value, value], "{text}");
            }
        }
        let sample: Sample =
            file("name: x\nkey: \"${V}\"\ncredential: '${V}'\nunit: ~", &[("V", value)]).parse().unwrap();
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
        assert_eq!(sample.unit, Some(Unit::Minor));
    }
    let sample = parse("{ name: 12, port: 1_000, offset: 0x10, ratio: 2, strict: no }").unwrap();
    assert_eq!((sample.name.as_str(), sample.port, sample.offset, sample.ratio), ("12", Some(1000), 16, Some(2.0)));
    for text in [
        "port: ${SECRET}",
        "port: '${BIG}'",
        "offset: ${SECRET}",
        "strict: ${PORT}",
        "ratio: ${HOST}",
        "unit: ${SECRET}",
    ] {
        let error = error(&format!("name: x\n{text}"));
        assert!(error.to_string().contains("sample.yaml:2:"), "{text}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{text}: {error:?}");
    }
    let sample: Sample = file("{ name: x, names: \"${N}\" }", &[("N", "12, 34")]).parse().unwrap();
    assert_eq!(sample.names.as_slice(), ["12", "34"]);
}

#[test]
fn without_variables_a_file_is_read_as_before() {
    for (text, name) in
        [("name: $5", "$5"), ("name: pa$word", "pa$word"), ("name: pa$$word", "pa$word"), ("name: $HOST", "$HOST")]
    {
        assert_eq!(parse(text).unwrap().name, name, "{text}");
    }
    let text = "name: \"${HOST} $$\"\nlist: [\"${\"]";
    let sample: Sample = YamlFile::of("sample.yaml".into(), text.into()).parse().unwrap();
    assert_eq!((sample.name.as_str(), sample.list), ("${HOST} $$", vec!["${".to_owned()]));
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
        ("name: a${HOST", "a variable of the key `name` is not closed: `${` without `}` (file sample.yaml:1:8)"),
        (
            "name: \"${HOST\"\nport: 1",
            "a variable of the key `name` is not closed: `${` without `}` (file sample.yaml:1:8)",
        ),
        ("name: x\nlist: ['${1A}']", "what stands in `${...}` of the key `list` is no variable (file sample.yaml:2:9)"),
        ("name: ${}", "what stands in `${...}` of the key `name` is no variable (file sample.yaml:1:7)"),
        ("name: ${my-host}", "what stands in `${...}` of the key `name` is no variable (file sample.yaml:1:7)"),
        ("name: 'hunter2${!x}'", "what stands in `${...}` of the key `name` is no variable (file sample.yaml:1:15)"),
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
    for text in ["name: x\nprot: 1", "name: ${SECRET}\nprot: 1", "name: '${SECRET}'\nprot: ${HOST}"] {
        let error = error(text);
        assert!(error.to_string().starts_with("unknown field `prot`"), "{error}");
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
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains("sample.yaml"), "{error}");
    }
    for text in ["name: [", "name: \"${HOST}", "name: {", "name: ${HOST}: x"] {
        assert!(error(text).to_string().contains("sample.yaml"), "{text}");
    }
}

#[test]
fn errors_after_parsing_show_a_variable_instead_of_its_value() {
    let file = file("name: '${SECRET} ${HOST} ${S}'", &[("S", "1m")]);
    let shown =
        |message: &str| file.redact(Error::config(message).hint(message).at("file", "/example.com/x")).to_string();
    assert_eq!(shown("\"hunter2: # {\" is no duration"), "\"${SECRET}\" is no duration (file /example.com/x)");
    assert_eq!(shown("EXAMPLE.COM, example.com"), "EXAMPLE.COM, ${HOST} (file /example.com/x)");
    assert_eq!(shown("`1m` is not 1m5"), "`${S}` is not 1m5 (file /example.com/x)");
}

#[test]
fn variables_are_found_once_and_not_in_comments() {
    let variables = |text: &str| YamlFile::of("t.yaml".into(), text.into()).variables();
    let text = "a: ${X}/${Y:-1}#${W}\n# b: ${Z}\nc: \"${X} # ${V:-${U}}\"\nd: { e: ['$${T}'] } # ${S}";
    assert_eq!(variables(text).unwrap(), ["X", "Y", "W", "V", "U"]);
    assert!(variables("a: ${X").unwrap_err().to_string().contains("t.yaml:1:4"));
}
