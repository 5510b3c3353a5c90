//! The OpenAPI document, made from the list of endpoints.
//!
//! Invariant: what the document says is what the server checks: paths, parameters and their forms, media types, and that every refusal is a problem document.

use crate::endpoints::{BodyForm, ENDPOINTS, Endpoint, EndpointId};
use crate::media::AnswerFormat;
use crate::options::ServeOptions;
use crate::parameters::{Parameter, ParameterForm};
use crate::problem::PROBLEM;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The document, OpenAPI 3.1.
pub(crate) fn document(options: &ServeOptions) -> Value {
    let mut paths = Map::new();
    for endpoint in &ENDPOINTS {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        paths.insert(
            endpoint.path.to_owned(),
            json!({ method: operation(endpoint, options) }),
        );
    }
    for (path, summary, media) in [
        ("/healthz", "The process is alive", "application/json"),
        (
            "/metrics",
            "Metrics, as Prometheus reads them",
            "text/plain",
        ),
    ] {
        let ok = json!({ "description": "Yes.", "content": { media: { "schema": {} } } });
        let operation = json!({
            "operationId": path.trim_start_matches('/'),
            "summary": summary,
            "tags": ["operation"],
            "responses": { "200": ok, "default": problem() },
        });
        paths.insert(path.to_owned(), json!({ "get": operation }));
    }
    let ready = json!({ "description": "A run is there to be read.", "content": { "application/json": { "schema": {} } } });
    paths.insert(
        "/readyz".to_owned(),
        json!({ "get": {
            "operationId": "readyz",
            "summary": "A run is there to be read",
            "tags": ["operation"],
            "responses": { "200": ready, "503": problem(), "default": problem() },
        } }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tillhouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The sales of every till, of the newest published run. What is answered is what the commands of `tillhouse` print.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "api", "description": "Statistics, reports, lists, tables and SQL" },
            { "name": "hecone", "description": "HecOne's own endpoints, for clients that were written against HecOne" },
            { "name": "operation", "description": "Health and metrics" },
        ],
        "paths": paths,
        "components": {
            "schemas": { "Problem": problem_schema() },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, options: &ServeOptions) -> Value {
    let in_path = endpoint
        .in_path
        .iter()
        .map(|parameter| shown(parameter, "path"));
    let in_query = endpoint
        .parameters
        .iter()
        .map(|parameter| shown(parameter, "query"));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let tag = match endpoint.id {
        EndpointId::Login | EndpointId::HecOneStatistics => "hecone",
        _ => "api",
    };
    let mut operation = json!({
        "operationId": endpoint.id.as_str(),
        "summary": endpoint.summary,
        "description": endpoint.description,
        "tags": [tag],
        "parameters": parameters,
        "responses": responses(endpoint),
    });
    if let Some(body) = endpoint.body {
        operation["requestBody"] = request_body(body, options);
    }
    let has_users = options.users.as_deref().is_some_and(Path::exists);
    if has_users && endpoint.id != EndpointId::Login {
        operation["security"] = json!([{ "bearer": [] }, { "basic": [] }]);
    } else if endpoint.is_guarded {
        operation["security"] = json!([{ "bearer": [] }]);
    }
    operation
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut content = Map::new();
    for format in endpoint.formats {
        let schema = match format {
            AnswerFormat::Json => answer_schema(endpoint.id),
            AnswerFormat::Csv => json!({ "type": "string" }),
            AnswerFormat::Arrow | AnswerFormat::Parquet | AnswerFormat::Workbook => json!({}),
        };
        content.insert(format.essence().to_owned(), json!({ "schema": schema }));
    }
    let mut responses = json!({
        "200": { "description": "The answer.", "content": content },
        // Refused before there is a request that could be answered.
        "414": { "description": "The address is longer than one may be." },
        "431": { "description": "The head is larger than one may be." },
        "default": problem(),
    });
    if has_tag(endpoint.id) {
        responses["200"]["headers"] = json!({
            "ETag": { "description": "Tag of run, question and what the user sees.", "schema": { "type": "string" } },
        });
        responses["304"] = json!({ "description": "The client has the answer already: If-None-Match names its tag." });
    }
    for status in refusals(endpoint) {
        responses[*status] = problem();
    }
    responses
}

/// True for an endpoint whose answer is one of a run, always alike: it has a tag, and is not sent again to who has it.
fn has_tag(endpoint: EndpointId) -> bool {
    match endpoint {
        EndpointId::HecOneStatistics
        | EndpointId::Statistics
        | EndpointId::Report
        | EndpointId::Transactions
        | EndpointId::Tables
        | EndpointId::Table => true,
        EndpointId::Login
        | EndpointId::Runs
        | EndpointId::Rejects
        | EndpointId::Drift
        | EndpointId::Coverage
        | EndpointId::Freshness
        | EndpointId::Sql => false,
    }
}

/// Statuses with which an endpoint refuses, beside those of any endpoint.
fn refusals(endpoint: &Endpoint) -> &'static [&'static str] {
    match endpoint.id {
        EndpointId::Login => &["400", "401", "403", "406", "413", "415", "421"],
        EndpointId::HecOneStatistics => &["400", "401", "406", "409", "421", "503", "504"],
        EndpointId::Sql => &["400", "406", "413", "415", "421", "422", "503", "504"],
        EndpointId::Table => &["400", "404", "406", "421", "503", "504"],
        _ => &["400", "406", "421", "422", "503", "504"],
    }
}

/// Shape of a JSON answer, as far as it is the same for every question.
fn answer_schema(endpoint: EndpointId) -> Value {
    let number = || json!({ "type": "number" });
    match endpoint {
        EndpointId::Login => json!({
            "type": "object",
            "required": ["access_token", "expires_in", "token_type", "refresh_token"],
            "properties": {
                "access_token": { "type": "string" },
                "expires_in": { "type": "integer" },
                "token_type": { "type": "string" },
                "refresh_token": { "type": "string" },
            },
        }),
        EndpointId::HecOneStatistics => json!({
            "type": "object",
            "required": ["_links", "meta", "data"],
            "properties": {
                "_links": { "type": "object" },
                "meta": {
                    "type": "object",
                    "properties": { "limit": number(), "start": number(), "size": number(), "total": number() },
                },
                "data": { "type": "array", "items": { "type": "object" } },
            },
        }),
        EndpointId::Statistics | EndpointId::Report => json!({
            "type": "object",
            "required": ["data", "meta"],
            "properties": { "meta": { "type": "object" } },
        }),
        EndpointId::Table => json!({
            "type": "object",
            "required": ["schema", "table", "description", "columns"],
        }),
        EndpointId::Transactions
        | EndpointId::Runs
        | EndpointId::Rejects
        | EndpointId::Drift
        | EndpointId::Coverage
        | EndpointId::Freshness
        | EndpointId::Tables
        | EndpointId::Sql => json!({ "type": "array", "items": { "type": "object" } }),
    }
}

fn shown(parameter: &Parameter, place: &str) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let schema = match parameter.form {
        ParameterForm::Text | ParameterForm::List | ParameterForm::Zone => text(),
        ParameterForm::Whole { least, most } => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        ParameterForm::Word(words) => json!({ "type": "string", "enum": words }),
        ParameterForm::Json => {
            json!({ "type": "string", "minLength": 1, "contentMediaType": "application/json" })
        }
    };
    let example = match parameter.form {
        ParameterForm::Whole { .. } => parameter
            .example
            .parse::<u64>()
            .map_or(Value::Null, Value::from),
        _ => json!(parameter.example),
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": schema,
        "example": example,
    })
}

fn request_body(body: BodyForm, options: &ServeOptions) -> Value {
    let schema = match body {
        BodyForm::Login => json!({
            "type": "object",
            "required": ["client_id", "client_secret"],
            "properties": {
                "client_id": { "type": "string" },
                "client_secret": { "type": "string" },
            },
        }),
        BodyForm::Query => json!({
            "type": "object",
            "required": ["query"],
            "additionalProperties": false,
            "properties": {
                "query": { "type": "string", "examples": ["SELECT currency, count(*), sum(amount) FROM counted GROUP BY 1"] },
                "parameters": {
                    "type": ["object", "null"],
                    "additionalProperties": { "type": ["string", "number", "boolean"] },
                },
            },
        }),
    };
    let mut content = json!({ "application/json": { "schema": schema } });
    if body == BodyForm::Login {
        content["application/x-www-form-urlencoded"] = json!({ "schema": {
            "type": "object",
            "required": ["grant_type", "client_id", "client_secret"],
            "properties": {
                "grant_type": { "type": "string", "enum": ["client_credentials"] },
                "client_id": { "type": "string" },
                "client_secret": { "type": "string" },
            },
        } });
    }
    json!({
        "required": true,
        "description": format!("At most {} bytes.", options.body_bytes),
        "content": content,
    })
}

fn problem() -> Value {
    json!({
        "description": "Fault, and the id under which the log has more.",
        "content": { PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "id"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "hint": { "type": "string" },
            "id": { "type": "string" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_in_the_document_with_its_parameters() {
        let document = document(&ServeOptions::default());
        assert_eq!(document["openapi"], "3.1.0");
        for endpoint in &ENDPOINTS {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][endpoint.path][&method];
            assert_eq!(operation["operationId"], endpoint.id.as_str());
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path = usize::from(endpoint.in_path.is_some());
            assert_eq!(parameters.len(), endpoint.parameters.len() + in_path);
            assert!(parameters.iter().all(|p| !p["example"].is_null()));
            let responses = &operation["responses"];
            assert_eq!(responses["304"].is_object(), has_tag(endpoint.id));
            assert!(responses["414"].is_object() && responses["431"].is_object());
            assert_eq!(
                operation["requestBody"].is_object(),
                endpoint.body.is_some()
            );
        }
    }
}
