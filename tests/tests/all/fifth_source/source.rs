//! The washbay's source: what a crate of its own would hold.
//!
//! Invariant: it uses `extract` and `model` and no other crate of ours, as every source does.

use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use serde::Deserialize;
use std::sync::Arc;
use tillhouse_extract::paging::FetchOutcome;
use tillhouse_extract::{
    AuthorizedClient, BaseUrl, ClientStats, Credential, HeaderName, HttpClient, HttpOutcome,
    HttpRequest, Login, Page, PageStream, Source, SourceConnection, SourceLimits, Token, envelope,
    paging,
};
use tillhouse_model::{Error, ReadBy, Resource, Result, Secret, Slice, Window};
use url::Url;

const SOURCE: &str = "washbay";
/// The most washes that the API gives a page.
const LARGEST_PAGE: u32 = 50;

const WASHES: Resource = Resource {
    name: "washes",
    records_at: &["washes"],
    largest_page: Some(LARGEST_PAGE),
    ..Resource::INCREMENTAL
};
const HALLS: Resource = Resource {
    name: "halls",
    records_at: &["halls"],
    ..Resource::FULL_REFRESH
};

/// Connection to the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WashbayConnection {
    base_url: BaseUrl,
    api_key: Credential,
}

impl SourceConnection for WashbayConnection {
    const SOURCE: &'static str = SOURCE;
    const RESOURCES: &'static [Resource] = &[WASHES, HALLS];

    fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>> {
        self.api_key.check("connection.api_key")?;
        let client = HttpClient::new(SOURCE, self.base_url, limits)?;
        let key = Arc::new(WashbayApiKey { key: self.api_key });
        Ok(Arc::new(WashbaySource {
            api: AuthorizedClient::new(client, key),
        }))
    }
}

/// A key in a header of its own; read again when it is refused.
#[derive(Debug)]
struct WashbayApiKey {
    key: Credential,
}

#[async_trait]
impl Login for WashbayApiKey {
    async fn login(&self, _: Option<&Secret>) -> Result<Token> {
        Ok(Token {
            access: self.key.read("connection.api_key").await?,
            refresh: None,
            lifetime: None,
        })
    }

    fn authorize(&self, request: HttpRequest, access: &Secret) -> Result<HttpRequest> {
        request.secret_header(HeaderName::from_static("x-api-key"), access)
    }
}

#[derive(Debug)]
struct WashbaySource {
    api: AuthorizedClient,
}

/// A page that was asked for, and the link to the next one.
async fn page(
    api: &AuthorizedClient,
    request: &HttpRequest,
    resource: &Resource,
) -> Result<FetchOutcome<(Page, Option<String>)>> {
    let response = match api.send(request).await? {
        HttpOutcome::Success(response) => response,
        HttpOutcome::Refused(refusal) if refusal.is_past_the_end() => {
            return Ok(FetchOutcome::Missing(refusal.into_error()));
        }
        HttpOutcome::Refused(refusal) => return Err(refusal.into_error()),
    };
    let bytes = paging::normalise_empty(response.bytes, resource.records_at);
    let [next] = envelope::read(&bytes, &[&["next"]])?;
    let page = Page {
        bytes,
        declared_total: None,
        requested_at: response.requested_at,
        scope: None,
        restarts_listing: false,
        is_reread: false,
        remarks: Vec::new(),
    };
    Ok((
        page,
        next.and_then(|next| next.as_text().map(str::to_owned)),
    )
        .into())
}

impl WashbaySource {
    fn url(&self, resource: &str) -> Result<Url> {
        match resource {
            "washes" => self.api.client().url("/v1/washes"),
            "halls" => self.api.client().url("/v1/halls"),
            other => Err(Error::config(format!("washbay has no resource {other:?}"))
                .hint("It has: washes, halls.")),
        }
    }

    fn first(&self, slice: &Slice) -> Result<Url> {
        let request = HttpRequest::get(&slice.resource, self.url(&slice.resource)?);
        if slice.resource == HALLS.name {
            return Ok(request.url().clone());
        }
        let limit = self.api.client().limits().page_size.min(LARGEST_PAGE);
        let request = request
            .query("since", &asked_window(slice).from().to_string())
            .query("until", &asked_window(slice).to().to_string())
            .query("limit", &limit.to_string());
        Ok(request.url().clone())
    }
}

/// A slice's window, a second longer on both sides: the document does not say whether `since` and `until` are meant themselves.
fn asked_window(slice: &Slice) -> Window {
    slice.window.widened(SignedDuration::from_secs(1))
}

fn failed(error: Error) -> PageStream {
    stream::iter([Err(error)]).boxed()
}

#[async_trait]
impl Source for WashbaySource {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        WashbayConnection::RESOURCES
    }

    async fn check(&self) -> Result<()> {
        match page(
            &self.api,
            &HttpRequest::get("halls", self.url("halls")?).expecting_records_at(HALLS.records_at),
            &HALLS,
        )
        .await?
        {
            FetchOutcome::Page(_) => Ok(()),
            FetchOutcome::Missing(error) => Err(error),
        }
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        self.url(resource).map(|_| vec![None])
    }

    fn asks(&self, slice: &Slice, _by: ReadBy) -> Window {
        if slice.resource == HALLS.name {
            slice.window
        } else {
            asked_window(slice)
        }
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let first = match self.first(slice) {
            Ok(first) => first,
            Err(error) => return failed(error),
        };
        let (api, resource) = (
            self.api.clone(),
            if slice.resource == HALLS.name {
                &HALLS
            } else {
                &WASHES
            },
        );
        paging::by_link(first, api.client().listing_options(resource), move |url| {
            let (api, request) = (
                api.clone(),
                HttpRequest::get(resource.name, url).expecting_records_at(resource.records_at),
            );
            async move { page(&api, &request, resource).await }
        })
    }

    fn pages_by_id(&self, resource: &str, _: Vec<String>) -> PageStream {
        let unknown = self.url(resource).err();
        failed(
            unknown.unwrap_or_else(|| Error::config("washbay cannot be asked for single records")),
        )
    }

    fn stats(&self) -> ClientStats {
        self.api.stats()
    }
}
