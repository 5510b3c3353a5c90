//! The endpoints: every path, with what may be asked there.
//!
//! Invariant: the router, the check of parameters and the OpenAPI document are made from this one list, so that none says what another does not.

use crate::media::{AnswerFormat, FORMAT_NAMES, JSON_ALONE, ROW_FORMATS};
use crate::parameters::{Parameter, ParameterForm};
use crate::problem::Problem;
use axum::http::StatusCode;

/// Path of the OpenAPI document.
pub(crate) const DOCUMENT: &str = "/openapi.json";
/// Path of the page that shows it.
pub(crate) const PAGE: &str = "/docs";
/// Most rows of a page of transactions, and of bookkeeping.
pub(crate) const MOST_LISTED: u64 = 10_000;
/// Rows of them where nothing is said.
pub(crate) const LISTED: usize = 100;

/// Method of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointMethod {
    Get,
    Post,
}

impl EndpointMethod {
    /// Its name in HTTP.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// One path and method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) method: EndpointMethod,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    /// Parameters of the query part.
    pub(crate) parameters: &'static [Parameter],
    /// The parameter that is part of the path.
    pub(crate) in_path: Option<Parameter>,
    /// Form that the body has to have.
    pub(crate) body: Option<BodyForm>,
    pub(crate) formats: &'static [AnswerFormat],
    /// True if a bearer token is wanted.
    pub(crate) is_guarded: bool,
}

/// Names of the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EndpointId {
    Login,
    HecOneStatistics,
    Statistics,
    Report,
    Transactions,
    Runs,
    Rejects,
    Drift,
    Coverage,
    Freshness,
    Tables,
    Table,
    Sql,
}

impl EndpointId {
    /// The name, in the log, the metrics and the document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::HecOneStatistics => "hecone_statistics",
            Self::Statistics => "statistics",
            Self::Report => "report",
            Self::Transactions => "transactions",
            Self::Runs => "runs",
            Self::Rejects => "rejects",
            Self::Drift => "drift",
            Self::Coverage => "coverage",
            Self::Freshness => "freshness",
            Self::Tables => "tables",
            Self::Table => "table",
            Self::Sql => "sql",
        }
    }
}

/// Form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// Credentials of HecOne's login.
    Login,
    /// A query and the values of its parameters.
    Query,
}

pub(crate) const TENANT: Parameter = Parameter::new(
    "tenant",
    ParameterForm::Text,
    "Only this tenant (HecOne's mandator).",
    "7a0f",
);
pub(crate) const SOURCE: Parameter =
    Parameter::new("source", ParameterForm::Text, "Only this source.", "hecone");
pub(crate) const STATES: Parameter = Parameter::new(
    "states",
    ParameterForm::List,
    "The transaction states that count.",
    "completed,consumed",
);
pub(crate) const PERSPECTIVE: Parameter = Parameter::new(
    "perspective",
    ParameterForm::Word(&["sale", "purchase"]),
    "Sales, or purchases made elsewhere; they are never added up.",
    "sale",
);
pub(crate) const AS_OF: Parameter = Parameter::new(
    "as_of",
    ParameterForm::Text,
    "As the warehouse was after this run, or at this time.",
    "2026-01-31",
);
pub(crate) const FILTER: Parameter = Parameter::new(
    "filter",
    ParameterForm::Json,
    "Only transactions that pass: a Kendo UI filter descriptor.",
    r#"{"field":"amount","operator":"gte","value":50}"#,
);
pub(crate) const PRODUCT: Parameter = Parameter::new(
    "product",
    ParameterForm::Text,
    "Only transactions with an article of this product, by its key.",
    "hecone:17",
);
pub(crate) const PAYMENT_METHOD: Parameter = Parameter::new(
    "payment_method",
    ParameterForm::Text,
    "Only transactions with a collected payment of this method; unknown for one of none.",
    "card",
);
pub(crate) const TIMEZONE: Parameter = Parameter::new(
    "timezone",
    ParameterForm::Zone,
    "The zone in which dates are read and hours are cut: an IANA name, or an offset.",
    "Europe/Berlin",
);
const PIPELINE: Parameter = Parameter::new(
    "pipeline",
    ParameterForm::Text,
    "Only this pipeline.",
    "hecone",
);
pub(crate) const LIMIT: Parameter = Parameter::new(
    "limit",
    ParameterForm::Whole {
        least: 1,
        most: MOST_LISTED,
    },
    "Most rows; 100 where nothing is said.",
    "100",
);

const FORMAT: Parameter = Parameter::new(
    "format",
    ParameterForm::Word(&FORMAT_NAMES),
    "Format of the answer, in place of what Accept names.",
    "xlsx",
);

const STATISTICS: [Parameter; 12] = [
    Parameter::new(
        "from",
        ParameterForm::Text,
        "The first instant counted: a date (in timezone) or a time with its offset.",
        "2026-01-01",
    )
    .required(),
    Parameter::new(
        "to",
        ParameterForm::Text,
        "The first instant no longer counted.",
        "2026-02-01",
    )
    .required(),
    TENANT,
    SOURCE,
    STATES,
    TIMEZONE,
    Parameter::new(
        "hours",
        ParameterForm::Word(&["timeline", "of_day"]),
        "Hour after hour, or 00 to 23 by each site's own clock.",
        "timeline",
    ),
    PERSPECTIVE,
    FILTER,
    Parameter::new(
        "compare",
        ParameterForm::Text,
        "Window that growth is measured against: previous, calendar, last-year, or FROM..TO.",
        "previous",
    ),
    AS_OF,
    FORMAT,
];

const REPORT: [Parameter; 18] = [
    Parameter::new(
        "from",
        ParameterForm::Text,
        "The first day, on each site's own clock.",
        "2026-01-01",
    ),
    Parameter::new(
        "to",
        ParameterForm::Text,
        "The first day no longer counted.",
        "2026-02-01",
    ),
    Parameter::new(
        "period1",
        ParameterForm::Text,
        "The period: FROM..TO, or a relative period as JSON; in place of from and to.",
        "2026-01-01..2026-02-01",
    ),
    Parameter::new(
        "period2",
        ParameterForm::Text,
        "The period it is compared with.",
        "2025-01-01..2025-02-01",
    ),
    Parameter::new(
        "reference",
        ParameterForm::Text,
        "The day that relative dates count from; today (UTC) where nothing is said.",
        "2026-01-31",
    ),
    Parameter::new(
        "amount",
        ParameterForm::Whole {
            least: 1,
            most: MOST_LISTED,
        },
        "Number of best-selling products.",
        "10",
    ),
    Parameter::new(
        "limit",
        ParameterForm::Whole {
            least: 1,
            most: MOST_LISTED,
        },
        "Number of codes in the event counts.",
        "10",
    ),
    TENANT,
    SOURCE,
    Parameter::new(
        "sites",
        ParameterForm::List,
        "Only these sites, by key or by the provider's id.",
        "smartnow:2,smartnow:3",
    ),
    Parameter::new(
        "devices",
        ParameterForm::List,
        "Only these devices, by key or by the provider's id.",
        "smartnow:5",
    ),
    Parameter::new(
        "site_groups",
        ParameterForm::List,
        "Only the sites of these groups.",
        "smartnow:1",
    ),
    Parameter::new(
        "device_groups",
        ParameterForm::List,
        "Only the devices of these groups.",
        "smartnow:1",
    ),
    Parameter::new(
        "scopes",
        ParameterForm::List,
        "Whose logs events stand in: transaction, article, payment, receipt, device.",
        "device",
    ),
    STATES,
    PERSPECTIVE,
    AS_OF,
    FORMAT,
];

const TRANSACTIONS: [Parameter; 13] = [
    Parameter::new(
        "from",
        ParameterForm::Text,
        "The first instant listed; together with to.",
        "2026-01-01",
    ),
    Parameter::new(
        "to",
        ParameterForm::Text,
        "The first instant no longer listed; together with from.",
        "2026-02-01",
    ),
    TENANT,
    SOURCE,
    TIMEZONE,
    FILTER,
    PRODUCT,
    PAYMENT_METHOD,
    Parameter::new(
        "sort",
        ParameterForm::Text,
        "Column to sort by: occurred_at, created_at, updated_at, amount or transaction_key; a minus before it sorts the largest first.",
        "-occurred_at",
    ),
    LIMIT,
    AS_OF,
    Parameter::new(
        "cursor",
        ParameterForm::Text,
        "The next page: what the Link header of the page before says. It reads the run of the first page.",
        "7b22",
    ),
    FORMAT,
];

const BOOKKEEPING: [Parameter; 3] = [PIPELINE, LIMIT, FORMAT];
const RUNS: [Parameter; 2] = [LIMIT, FORMAT];

const HECONE: [Parameter; 4] = [
    Parameter::new("mandator_id", ParameterForm::Text, "The mandator.", "7a0f").required(),
    Parameter::new(
        "start_date",
        ParameterForm::Text,
        "The first instant counted.",
        "2026-01-01T00:00:00Z",
    )
    .required(),
    Parameter::new(
        "end_date",
        ParameterForm::Text,
        "The first instant no longer counted.",
        "2026-02-01T00:00:00Z",
    )
    .required(),
    FILTER,
];

/// An endpoint that is asked with GET.
const fn get(
    id: EndpointId,
    path: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: &'static [Parameter],
    formats: &'static [AnswerFormat],
) -> Endpoint {
    Endpoint {
        id,
        method: EndpointMethod::Get,
        path,
        summary,
        description,
        parameters,
        in_path: None,
        body: None,
        formats,
        is_guarded: false,
    }
}

/// All endpoints that answer questions.
pub(crate) static ENDPOINTS: [Endpoint; 13] = [
    Endpoint {
        method: EndpointMethod::Post,
        body: Some(BodyForm::Login),
        ..get(
            EndpointId::Login,
            "/auth/login",
            "A token for credentials, as HecOne gives one",
            "The token opens /transactions/statistics until it expires, and where there are users every other path too. Users log in by name and password; where there are none, serve.hecone_login in tillhouse.yaml says who may. The form of OAuth 2.0 (grant_type=client_credentials) is taken too.",
            &[],
            JSON_ALONE,
        )
    },
    Endpoint {
        is_guarded: true,
        ..get(
            EndpointId::HecOneStatistics,
            "/transactions/statistics",
            "HecOne's statistics, in HecOne's own shape",
            "Without any addition, in one currency: that of serve.hecone_currency, else the only one there is, else 409 with the list.",
            &HECONE,
            JSON_ALONE,
        )
    },
    get(
        EndpointId::Statistics,
        "/api/v1/statistics",
        "HecOne-style statistics: hourly counts, rankings, growth",
        "The same answer as `tillhouse stats --format json` or csv; as Arrow, Parquet and a workbook, the lines of the CSV in columns.",
        &STATISTICS,
        ROW_FORMATS,
    ),
    Endpoint {
        in_path: Some(
            Parameter::new(
                "name",
                ParameterForm::Word(&[
                    "revenue-summary",
                    "best-selling-products",
                    "summary",
                    "heat-map",
                    "event-counts",
                    "products",
                    "payment-types",
                    "events",
                    "shift-payments",
                    "shift-products",
                ]),
                "The report.",
                "summary",
            )
            .required(),
        ),
        ..get(
            EndpointId::Report,
            "/api/v1/reports/{name}",
            "One of SmartNow's reports, over all sources",
            "The same answer as `tillhouse report NAME --format json` or csv; as Arrow, Parquet and a workbook, the lines of the CSV in columns.",
            &REPORT,
            ROW_FORMATS,
        )
    },
    get(
        EndpointId::Transactions,
        "/api/v1/transactions",
        "Transactions, a page at a time",
        "The columns of unified.transactions but for the lineage. The Link header names the next page; all pages read one run.",
        &TRANSACTIONS,
        ROW_FORMATS,
    ),
    get(
        EndpointId::Runs,
        "/api/v1/runs",
        "Runs, the last that ended first",
        "The bookkeeping table ops.runs.",
        &RUNS,
        ROW_FORMATS,
    ),
    get(
        EndpointId::Rejects,
        "/api/v1/rejects",
        "Records that did not fit and have not landed since",
        "Open rows of the bookkeeping table ops.rejects, the last seen first.",
        &BOOKKEEPING,
        ROW_FORMATS,
    ),
    get(
        EndpointId::Drift,
        "/api/v1/drift",
        "Fields that no contract knows",
        "The bookkeeping table ops.drift, the last seen first.",
        &BOOKKEEPING,
        ROW_FORMATS,
    ),
    get(
        EndpointId::Coverage,
        "/api/v1/coverage",
        "Coverage of every pipeline: windows that were read, and gaps",
        "The same answer as `tillhouse status --format json` or csv; as Arrow, Parquet and a workbook, the lines of the CSV in columns.",
        &[FORMAT],
        ROW_FORMATS,
    ),
    get(
        EndpointId::Freshness,
        "/api/v1/freshness",
        "When the newest published run ended, of the warehouse and of every pipeline",
        "Times that `tillhouse status --max-age` goes by.",
        &[FORMAT],
        ROW_FORMATS,
    ),
    get(
        EndpointId::Tables,
        "/api/v1/tables",
        "Every table and view, with the meaning of one row",
        "The same answer as `tillhouse describe --format json` or csv; as Arrow, Parquet and a workbook, the lines of the CSV in columns.",
        &[AS_OF, FORMAT],
        ROW_FORMATS,
    ),
    Endpoint {
        in_path: Some(
            Parameter::new(
                "table",
                ParameterForm::Text,
                "The table, with or without its schema.",
                "counted",
            )
            .required(),
        ),
        ..get(
            EndpointId::Table,
            "/api/v1/tables/{table}",
            "A table and its columns, as its contract has them",
            "The same answer as `tillhouse describe TABLE --format json` or csv; as Arrow, Parquet and a workbook, the lines of the CSV in columns.",
            &[AS_OF, FORMAT],
            ROW_FORMATS,
        )
    },
    Endpoint {
        method: EndpointMethod::Post,
        body: Some(BodyForm::Query),
        ..get(
            EndpointId::Sql,
            "/api/v1/sql",
            "A query",
            "One statement that reads. Values of its parameters are never part of the text.",
            &[AS_OF, FORMAT],
            ROW_FORMATS,
        )
    },
];

/// Problem of a path that nothing is at.
pub(crate) fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path")
        .hint(format!("{DOCUMENT} lists the paths, {PAGE}/ shows them."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_statistics::TransactionOrder;
    use tillhouse_statistics::reports::ReportName;

    #[test]
    fn the_reports_that_are_named_are_those_there_are() {
        let endpoint = ENDPOINTS
            .iter()
            .find(|endpoint| endpoint.id == EndpointId::Report)
            .unwrap();
        let Some(ParameterForm::Word(names)) = endpoint.in_path.map(|parameter| parameter.form)
        else {
            panic!("a report has a name");
        };
        assert_eq!(names, ReportName::ALL.map(ReportName::as_str));
    }

    #[test]
    fn the_columns_to_sort_by_are_those_there_are() {
        let sort = TRANSACTIONS.iter().find(|p| p.name == "sort").unwrap();
        for order in TransactionOrder::ALL {
            assert!(sort.description.contains(order.as_str()), "{order}");
        }
    }

    #[test]
    fn an_endpoint_stands_once_and_names_its_parameter() {
        for endpoint in &ENDPOINTS {
            let same = ENDPOINTS.iter().filter(|other| other.path == endpoint.path);
            assert_eq!(same.count(), 1, "{}", endpoint.path);
            let named = endpoint.in_path.map(|p| format!("{{{}}}", p.name));
            assert_eq!(
                endpoint.path.contains('{'),
                named.is_some_and(|named| endpoint.path.contains(&named))
            );
        }
    }
}
