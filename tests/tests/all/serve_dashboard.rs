//! The dashboard of `tillhouse serve`, as a browser without scripts sees it: what its pages say, where their links lead, and who is shown what.
//!
//! Invariant: a figure on a page is the endpoint's, and the sales behind it are as many, and as much, as it says.

use crate::project::TestProject;
use crate::serve::synced;
use crate::serve_users::{PASSWORD, add, tenants};
use crate::served::{ReadAnswer, RunningServer};
use reqwest::Client;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};
use tillhouse_model::{ExactDecimal, money};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// Header of a browser.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const WINDOW: &str = "from=2026-01-01&to=2026-01-06";
/// Media type of a workbook.
const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// Sales of one page, more than there are.
const MANY: &str = "limit=5000";

/// A browser that follows no redirect by itself, and may have a session.
pub(crate) struct Browser<'a> {
    server: &'a RunningServer,
    client: Client,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(server: &'a RunningServer) -> Self {
        let client = Client::builder()
            .redirect(Policy::none())
            .build()
            .expect("a client");
        Self {
            server,
            client,
            cookie: None,
        }
    }

    pub(crate) async fn page(&self, path: &str) -> ReadAnswer {
        let url = format!("{}{path}", self.server.url);
        let mut request = self.client.get(url).header(ACCEPT, BROWSER);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        RunningServer::read(request.send().await.expect("an answer")).await
    }

    /// A page that is there.
    pub(crate) async fn seen(&self, path: &str) -> String {
        let page = self.page(path).await;
        assert_eq!(page.status.as_u16(), 200, "{path}: {}", page.text());
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = page.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let html = page.text().to_owned();
        assert_eq!(html.matches("<script").count(), 1, "{path}");
        for forbidden in [" style=\"", "<style", " onerror=\"", " onclick=\"", "<img"] {
            assert!(!html.contains(forbidden), "{path}: {forbidden}");
        }
        html
    }

    /// Sends a form.
    async fn send(&self, path: &str, fields: &[(&str, &str)], site: &str) -> ReadAnswer {
        let mut request = self
            .client
            .post(format!("{}{path}", self.server.url))
            .header(ACCEPT, BROWSER)
            .header("sec-fetch-site", site)
            .form(fields);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        RunningServer::read(request.send().await.expect("an answer")).await
    }

    /// Logs in, and gives the answer.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> ReadAnswer {
        let fields = [("name", name), ("password", password), ("next", "/sales")];
        let answer = self.send("/login", &fields, "same-origin").await;
        let cookie = answer.header("set-cookie");
        self.cookie = cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned());
        answer
    }
}

/// Addresses in a page that begin so, as a browser reads them.
pub(crate) fn addresses(html: &str, start: &str) -> Vec<String> {
    let links = html.split("href=\"").skip(1);
    links
        .filter_map(|rest| rest.split('"').next())
        .map(|address| address.replace("&amp;", "&"))
        .filter(|address| address.starts_with(start))
        .collect()
}

/// Cells of tables that lead to sales: the address, and how many it says they are.
fn counted_cells(html: &str) -> Vec<(String, usize)> {
    let cells = html.split("<td><a href=\"/sales?").skip(1);
    cells
        .map(|rest| {
            let (address, rest) = rest.split_once("\">").expect("a link");
            let (count, _) = rest.split_once("</a>").expect("a number");
            let count = count.replace(',', "").parse().expect("a number");
            (format!("/sales?{}", address.replace("&amp;", "&")), count)
        })
        .collect()
}

/// Number of sales that a page lists.
fn listed(html: &str) -> usize {
    addresses(html, "/sales/").len()
}

/// Sum of the amounts that a page of sales lists, all of one currency.
fn listed_amount(html: &str, currency: &str) -> ExactDecimal {
    let ending = format!("\u{a0}{currency}</td>");
    let cells = html.split("<td class=\"number\">").skip(1);
    let amounts = cells.filter_map(|rest| {
        let (amount, _) = rest.split_once(&ending)?;
        ExactDecimal::parse(&amount.replace(',', "").replace('\u{2212}', "-"))
    });
    amounts.fold(ExactDecimal::new(0, 0), |sum, amount| {
        sum.plus(amount).expect("it fits")
    })
}

#[derive(Deserialize)]
struct Statistics {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    currency: String,
    transactions_count: Figure,
    transactions_total_amount: Figure,
}

#[derive(Deserialize)]
struct Figure {
    value: Box<RawValue>,
}

/// The headline figures of an answer as a page shows them.
fn shown_figures(statistics: &ReadAnswer) -> Vec<String> {
    let statistics: Statistics = serde_json::from_slice(&statistics.bytes).expect("statistics");
    let figures = statistics.data.iter().flat_map(|entry| {
        let amount = ExactDecimal::from_json(entry.transactions_total_amount.value.get()).unwrap();
        let amount = money::format_amount(amount, &entry.currency).replace(' ', ",");
        let count: i64 = entry.transactions_count.value.get().parse().unwrap();
        let count = money::group_thousands(&count.to_string()).replace(' ', ",");
        [
            format!(
                "<dd class=\"value\">{} <span class=\"unit\">{}</span></dd>",
                amount.replace('-', "\u{2212}"),
                entry.currency
            ),
            format!("<dd class=\"value\">{count}</dd>"),
        ]
    });
    figures.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_view_says_what_the_endpoint_says_and_its_links_lead_to_those_sales() {
    let (_sandbox, project) = synced(600).await;
    let server = RunningServer::start(&project, "").await;
    let browser = Browser::new(&server);
    let overview = browser.seen(&format!("/?{WINDOW}")).await;
    let statistics = server.get(&format!("/api/v1/statistics?{WINDOW}")).await;
    let figures = shown_figures(&statistics);
    assert!(figures.len() >= 2, "{figures:?}");
    for figure in figures {
        assert!(overview.contains(&figure), "{figure}: {overview}");
    }
    // Hours one after the other, and hours of weekdays.
    let cells = counted_cells(&overview);
    let of_weekdays = |(address, _): &&(String, usize)| address.contains("weekday=");
    let weekly = cells.iter().filter(of_weekdays).take(8);
    let hourly = cells.iter().filter(|cell| !of_weekdays(cell)).take(8);
    let tried: Vec<_> = weekly.chain(hourly).collect();
    assert_eq!(tried.len(), 16, "{cells:?}");
    for (address, count) in tried {
        let sales = browser.seen(&format!("{address}&{MANY}")).await;
        assert_eq!(listed(&sales), *count, "{address}");
    }
    // A site of the ranking, to the last digit of its revenue.
    let ranking = overview
        .split("Sites by revenue")
        .nth(1)
        .expect("a ranking");
    let (row, _) = ranking.split_once("</li>").expect("a site");
    let address = addresses(row, "/sales?").remove(0);
    let amount = row.split("class=\"amount\">").nth(1).expect("its revenue");
    let amount = amount.split([' ', '<']).next().unwrap().replace(',', "");
    let currency = address.split("currency=").nth(1).unwrap();
    let currency = currency.split('&').next().unwrap();
    let sales = browser.seen(&format!("{address}&{MANY}")).await;
    let sum = listed_amount(&sales, currency);
    let expected = ExactDecimal::parse(&amount).expect("an amount");
    assert_eq!(sum.trimmed(), expected.trimmed(), "{address}");
    // A payment method leads to the sales that it was collected for.
    let ranking = overview.split("Payment methods").nth(1).expect("a ranking");
    let (row, _) = ranking.split_once("</li>").expect("a method");
    let address = addresses(row, "/sales?").remove(0);
    let value = |name: &str| {
        let value = address.split(&format!("{name}=")).nth(1).expect("a value");
        value.split('&').next().unwrap().to_owned()
    };
    let (currency, method) = (value("currency"), value("payment_method"));
    let expected = project
        .count(&format!(
            "SELECT count(DISTINCT transaction_key) AS n FROM counted_payments WHERE method = '{method}' AND currency = '{currency}' \
             AND occurred_at >= '2026-01-01' AND occurred_at < '2026-01-06'"
        ))
        .await;
    let sales = browser.seen(&format!("{address}&{MANY}")).await;
    assert_eq!(listed(&sales) as i64, expected, "{address}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_shown_with_what_hangs_on_it_and_pages_go_on() {
    let (_sandbox, project) = synced(300).await;
    let server = RunningServer::start(&project, "").await;
    let browser = Browser::new(&server);
    // Page after page holds every sale of the window once.
    let mut next = Some(format!("/sales?{WINDOW}&limit=40"));
    let mut found: Vec<String> = Vec::new();
    while let Some(address) = next {
        let page = browser.seen(&address).await;
        assert!(listed(&page) <= 40);
        found.extend(addresses(&page, "/sales/"));
        let further = addresses(&page, "/sales?");
        next = further.into_iter().find(|link| {
            // The other language's link has the cursor of this page.
            let cursor = |address: &str| {
                let rest = address.split("cursor=").nth(1)?;
                rest.split('&').next().map(str::to_owned)
            };
            cursor(link).is_some() && cursor(link) != cursor(&address)
        });
    }
    let all = project
        .count(
            "SELECT count(*) AS n FROM transactions WHERE occurred_at >= '2026-01-01' AND occurred_at < '2026-01-06'",
        )
        .await;
    assert_eq!(found.len() as i64, all);
    found.sort();
    found.dedup();
    assert_eq!(found.len() as i64, all);

    let key = project
        .sql("SELECT transaction_key FROM payments WHERE transaction_key IN (SELECT transaction_key FROM articles) ORDER BY 1 LIMIT 1")
        .await;
    let key = key[0]["transaction_key"].as_str().unwrap().to_owned();
    let path = format!("/sales/{}", key.replace(':', "%3A"));
    let sale = browser.seen(&path).await;
    for part in [
        key.as_str(),
        "Articles",
        "Payments",
        "All fields",
        "<dt>transaction_id</dt>",
    ] {
        assert!(sale.contains(part), "{part}: {sale}");
    }
    let missing = browser.page("/sales/hecone%3Anosuch").await;
    assert_eq!(missing.status.as_u16(), 404);
    assert!(
        missing
            .text()
            .contains(missing.header("x-request-id").unwrap())
    );

    // The other pages, and one site of theirs.
    let sites = browser.seen(&format!("/sites?{WINDOW}")).await;
    let site = addresses(&sites, "/sites/").remove(0);
    let site = browser.seen(&site).await;
    let figures = addresses(&site, "/?")
        .into_iter()
        .find(|link| link.contains("site="));
    browser.seen(&figures.expect("its figures")).await;
    let sources = browser.seen("/sources").await;
    for part in ["Freshness", "Last runs", "hecone"] {
        assert!(sources.contains(part), "{part}: {sources}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_languages_assets_and_answers_to_tools_are_as_they_should() {
    let (_sandbox, project) = synced(300).await;
    let server = RunningServer::start(&project, "  audit: audit.jsonl").await;
    let browser = Browser::new(&server);
    // To whoever asks for no page there is nothing there, as before there were any.
    for path in ["/", "/sales", "/sources"] {
        server.get(path).await.problem(404);
        server.get_as(path, "application/json").await.problem(404);
    }
    // A file is the answer of the endpoint.
    for (file, path) in [
        (
            "statistics",
            format!("/api/v1/statistics?{WINDOW}&timezone=UTC"),
        ),
        (
            "sales",
            format!("/api/v1/transactions?{WINDOW}&limit=10000"),
        ),
    ] {
        let exported = browser.page(&format!("/export/{file}.csv?{WINDOW}")).await;
        let expected = server.get_as(&path, "text/csv").await;
        assert_eq!(exported.text(), expected.text(), "{file}");
        let disposition = exported.header("content-disposition").unwrap();
        let name = format!("{file}_2026-01-01_2026-01-06.csv");
        assert_eq!(disposition, format!("attachment; filename=\"{name}\""));
        let parquet = browser
            .page(&format!("/export/{file}.parquet?{WINDOW}"))
            .await;
        assert!(parquet.bytes.starts_with(b"PAR1"));
        let book = browser.page(&format!("/export/{file}.xlsx?{WINDOW}")).await;
        assert_eq!(book.header("content-type"), Some(WORKBOOK));
        let named = server.get(&format!("{path}&format=xlsx")).await;
        assert!(book.bytes == named.bytes, "{file}");
    }
    assert_eq!(browser.page("/export/users.csv").await.status.as_u16(), 404);
    for file in ["style.css", "dashboard.js", "filter.js", "login.js"] {
        let asset = server.get(&format!("/assets/{file}")).await;
        assert_eq!(asset.status.as_u16(), 200, "{file}");
        assert!(asset.header("content-security-policy").is_some());
    }
    server.get("/assets/secret.css").await.problem(404);
    // A language that the browser prefers, or that the address names.
    let url = format!("{}/?{WINDOW}", server.url);
    let german = browser.client.get(&url).header(ACCEPT, BROWSER);
    let german = german.header(ACCEPT_LANGUAGE, "de-CH,de;q=0.9,en;q=0.8");
    let german = RunningServer::read(german.send().await.unwrap()).await;
    assert!(german.text().contains("<html lang=\"de\">") && german.text().contains("Umsatz"));
    let english = browser.seen(&format!("/?{WINDOW}&lang=en")).await;
    assert!(english.contains("<html lang=\"en\">") && english.contains("Revenue"));
    // A period with no sales, and a question that is wrong, told with its id and without its markup.
    let empty = browser.seen("/?from=2020-01-01&to=2020-01-02").await;
    assert!(
        empty.contains("Nothing was sold in this period."),
        "{empty}"
    );
    let wrong = browser
        .page("/?from=2026-01-01&to=2026-01-06&tenant=%3Cscript%3Ex")
        .await;
    assert_eq!(wrong.status.as_u16(), 400);
    assert!(wrong.text().contains(wrong.header("x-request-id").unwrap()));
    assert!(!wrong.text().contains("<script>x"), "{}", wrong.text());
    // What was asked stands in the form still.
    assert!(wrong.text().contains("name=\"from\" value=\"2026-01-01\""));
    // A name that nothing has is told, and no empty page.
    for (path, said) in [
        ("/", "currency=QQQ"),
        ("/sites", "currency=QQQ"),
        ("/sales", "currency=QQQ"),
        ("/sales", "product=nothing"),
        ("/sales", "payment_method=shells"),
    ] {
        let page = browser.page(&format!("{path}?{WINDOW}&{said}")).await;
        assert_eq!(page.status.as_u16(), 400, "{path} {said}: {}", page.text());
        assert!(page.text().contains("there is no "), "{}", page.text());
    }
    // A file of one currency has that alone.
    let euros = browser
        .page(&format!("/export/statistics.csv?{WINDOW}&currency=EUR"))
        .await;
    let lines = euros.text().lines().skip(1);
    assert!(lines.clone().count() > 0);
    assert!(
        lines.clone().all(|line| line.starts_with("EUR,")),
        "{}",
        euros.text()
    );
    let ages = browser.page("/?from=0001-01-01&to=9000-01-01").await;
    assert_eq!(ages.status.as_u16(), 400);
    assert!(ages.text().contains("twenty years"), "{}", ages.text());
    // A page that the browser has is not sent again.
    let page = browser.page(&format!("/?{WINDOW}")).await;
    let again = browser.client.get(&url).header(ACCEPT, BROWSER);
    let again = again.header("if-none-match", page.header("etag").unwrap());
    assert_eq!(again.send().await.unwrap().status().as_u16(), 304);
    let news = server.get("/news.json").await;
    assert_eq!(news.json()["run"].as_str(), page.header("tillhouse-run"));
    let named = format!("data-run=\"{}\"", page.header("tillhouse-run").unwrap());
    assert!(page.text().contains(&named));
    // A page that looks for news fills no log.
    server.get("/healthz").await;
    let began = Instant::now();
    let log = loop {
        let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
        if log.contains("\"healthz\"") {
            break log;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(log.contains("\"page_overview\"") && !log.contains("\"page_news\""));
}

/// A filter is built condition by condition without scripts, said in words, taken off, and told where it is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_built_said_and_taken_off() {
    let (_sandbox, project) = synced(600).await;
    let server = RunningServer::start(&project, "").await;
    let browser = Browser::new(&server);
    let form = browser.seen(&format!("/sales?{WINDOW}")).await;
    assert!(form.contains("action=\"/filter\"") && form.contains("<option value=\"gte\""));
    let sent = async |more: &str| {
        let answer = browser
            .page(&format!("/filter?path=/sales&{WINDOW}&{MANY}&{more}"))
            .await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    };
    let first = sent("field=amount&operator=gte&value=20").await;
    let filter = first.split("filter=").nth(1).expect("a filter");
    let filter = filter.split('&').next().unwrap();
    let second = format!("filter={filter}&join=and&field=kind&operator=eq&value=sale");
    let built = sent(&second).await;
    let page = browser.seen(&built).await;
    for said in [
        "<li>Amount is at least 20 <a ",
        "Kind is \u{201c}sale\u{201d}",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let expected = project
        .count(
            "SELECT count(*) AS n FROM transactions WHERE amount >= 20 AND kind = 'sale' AND occurred_at >= '2026-01-01' AND occurred_at < '2026-01-06'",
        )
        .await;
    assert!(expected > 0);
    assert_eq!(listed(&page) as i64, expected);
    // Without its second part it is the first again.
    let chip = page.split("Kind is").nth(1).expect("a chip");
    let left = addresses(chip, "/sales?").remove(0);
    let left = browser.seen(&left).await;
    assert!(left.contains("Amount is at least 20") && !left.contains("Kind is"));
    // One that is wrong is told with its id, beside the form and the way back.
    let wrong = sent("field=amount&operator=gte&value=much").await;
    let wrong = browser.page(&wrong).await;
    assert_eq!(wrong.status.as_u16(), 400);
    for part in [
        wrong.header("x-request-id").unwrap(),
        "the filter&#39;s value is text",
        "action=\"/filter\"",
        "Amount is at least \u{201c}much\u{201d}",
    ] {
        assert!(wrong.text().contains(part), "{part}: {}", wrong.text());
    }
    // Values are those that there are.
    let kinds = server.get("/filter-values/kind").await.json();
    let known = project
        .sql("SELECT DISTINCT kind FROM transactions ORDER BY 1")
        .await;
    let known: Vec<&Value> = known.iter().map(|row| &row["kind"]).collect();
    let kinds: Vec<&Value> = kinds.as_array().expect("values").iter().collect();
    assert_eq!(kinds, known);
    let sites = server.get("/filter-values/site_name").await.json();
    assert!(!sites.as_array().unwrap().is_empty());
    for field in ["amount", "nosuch"] {
        let none = server.get(&format!("/filter-values/{field}")).await.json();
        assert_eq!(none, Value::Array(Vec::new()), "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_log_in_and_neither_sees_the_other() {
    let (_sandbox, project) = synced(600).await;
    let all = tenants(&project).await;
    let [first, .., last] = all.as_slice() else {
        panic!("several tenants: {all:?}");
    };
    add(&project, "first", &["--tenant", first]).await;
    add(&project, "last", &["--tenant", last]).await;
    let server = RunningServer::start(&project, "").await;
    let mut browser = Browser::new(&server);
    // Nobody is shown anything before.
    let sent = browser.page(&format!("/sales?{WINDOW}")).await;
    assert_eq!(sent.status.as_u16(), 303);
    assert_eq!(
        sent.header("location"),
        Some("/login?next=%2Fsales%3Ffrom%3D2026-01-01%26to%3D2026-01-06")
    );
    let form = browser.seen(sent.header("location").unwrap()).await;
    assert!(form.contains("name=\"password\""), "{form}");
    let refused = browser.page("/news.json").await;
    assert_eq!(refused.status.as_u16(), 303);
    let refused = server.get("/news.json").await;
    refused.problem(401);
    assert_eq!(
        refused.header("www-authenticate"),
        None,
        "no dialogue of the browser's own"
    );

    let wrong = browser.log_in("first", "a wrong password").await;
    assert_eq!(
        (wrong.status.as_u16(), browser.cookie.as_ref()),
        (401, None)
    );
    assert!(wrong.text().contains("role=\"alert\"") && !wrong.text().contains("a wrong password"));
    let foreign = [("name", "first"), ("password", PASSWORD)];
    let foreign = browser.send("/login", &foreign, "cross-site").await;
    foreign.problem(403);

    let entered = browser.log_in("first", PASSWORD).await;
    assert_eq!(entered.status.as_u16(), 303);
    assert_eq!(entered.header("location"), Some("/sales"));
    let cookie = entered.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let overview = browser.seen(&format!("/?{WINDOW}")).await;
    let statistics = server
        .client
        .get(format!("{}/api/v1/statistics?{WINDOW}", server.url))
        .basic_auth("first", Some(PASSWORD));
    let statistics = RunningServer::read(statistics.send().await.unwrap()).await;
    for figure in shown_figures(&statistics) {
        assert!(overview.contains(&figure), "{figure}: {overview}");
    }
    assert!(overview.contains("Log out"), "{overview}");
    let kept = browser.page(&format!("/?{WINDOW}")).await;
    assert_eq!(kept.header("cache-control"), Some("no-store"));
    let own = addresses(
        &browser.seen(&format!("/sales?{WINDOW}&{MANY}")).await,
        "/sales/",
    );

    let mut other = Browser::new(&server);
    other.log_in("last", PASSWORD).await;
    let others = addresses(
        &other.seen(&format!("/sales?{WINDOW}&{MANY}")).await,
        "/sales/",
    );
    assert!(!own.is_empty() && !others.is_empty());
    assert!(own.iter().all(|sale| !others.contains(sale)));
    assert_eq!(browser.page(&own[0]).await.status.as_u16(), 200);
    assert_eq!(browser.page(&others[0]).await.status.as_u16(), 404);
    let foreign = browser.page(&format!("/?{WINDOW}&tenant={last}")).await;
    assert_eq!(foreign.status.as_u16(), 400);
    // Coverage and drift, which tell of all tenants, are said not to be shown.
    let sources = browser.seen("/sources").await;
    assert!(sources.contains("Not shown to users"), "{sources}");
    assert!(!sources.contains(last.as_str()), "{sources}");

    // The cookie is good for pages alone, and ends with its session.
    let tables = server.client.get(format!("{}/api/v1/tables", server.url));
    let tables = tables.header(COOKIE, browser.cookie.as_ref().unwrap());
    assert_eq!(tables.send().await.unwrap().status().as_u16(), 401);
    browser
        .send("/logout", &[], "cross-site")
        .await
        .problem(403);
    assert_eq!(browser.page("/sources").await.status.as_u16(), 200);
    let left = browser.send("/logout", &[], "same-origin").await;
    assert_eq!(
        (left.status.as_u16(), left.header("location")),
        (303, Some("/login"))
    );
    assert_eq!(browser.page("/sources").await.status.as_u16(), 303);

    // So does a session whose password has changed since.
    assert_eq!(other.page("/sources").await.status.as_u16(), 200);
    change_password(&project, "last").await;
    let began = Instant::now();
    while other.page("/sources").await.status.as_u16() != 303 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the session lives on"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    other.cookie = Some("tillhouse=0000".to_owned());
    assert_eq!(other.page("/sources").await.status.as_u16(), 303);
}

/// Gives a user another password.
async fn change_password(project: &TestProject, name: &str) {
    let file = project.path().join("other.txt");
    std::fs::write(&file, "another password of the tests\n").unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["user", "add", name, "--change", "--password-file", file];
    let changed = project.run(&arguments).await;
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
}

/// A name that a provider chose, which would run a script and turn text around.
pub(crate) const HOSTILE: &str =
    "\"><script>alert(1)</script><img src=x onerror=\"alert(2)\">\u{202e}";

/// A project that has read a sale whose site, `hecone:hostile`, and articles have that name.
pub(crate) async fn hostile() -> (Sandbox, TestProject) {
    let options = SandboxOptions {
        transactions: 120,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let is_usual = |record: &&Value| {
        record["state"] == "completed"
            && record["invoice"]["created_at"].is_string()
            && record["site"].is_object()
    };
    let mut sale = records.iter().find(is_usual).expect("a sale").clone();
    sale["site"]["name"] = HOSTILE.into();
    sale["site"]["id"] = "hostile".into();
    sale["site_id"] = "hostile".into();
    for article in sale["articles"].as_array_mut().unwrap() {
        article["name"] = HOSTILE.into();
        article["product_id"] = Value::Null;
    }
    sandbox.put(&sale.to_string()).unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("slice", "90d");
    project.sync(&[]).await;
    (sandbox, project)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_providers_choose_run_no_script() {
    let (_sandbox, project) = hostile().await;
    let server = RunningServer::start(&project, "").await;
    let browser = Browser::new(&server);
    let period = "from=2026-01-01&to=2026-02-01";
    let overview = browser.seen(&format!("/?{period}")).await;
    let sites = browser.seen(&format!("/sites?{period}")).await;
    let sales = browser
        .seen(&format!("/sales?{period}&{MANY}&site=hecone%3Ahostile"))
        .await;
    let key = addresses(&sales, "/sales/").remove(0);
    let sale = browser.seen(&key).await;
    let site = browser.seen("/sites/hecone%3Ahostile").await;
    for page in [overview, sites, sales, sale, site] {
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
        assert!(!page.contains('\u{202e}'), "{page}");
    }
}
