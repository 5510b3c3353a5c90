//! The page to log in at, and the page that says why there is no other.
//!
//! Invariant: neither tells more than the answer of the API would; the way on after a login is an address of this server.

use super::document::{PageView, document, head};
use super::period_form::period_form;
use super::restated::since_form;
use super::{LOGIN_PATH, LOGOUT_PATH, OVERVIEW_PATH, RESTATED_PATH, SALES_PATH, SITES_PATH};
use crate::html::Html;
use crate::language::Language;
use crate::view_query::ViewQuery;
use crate::words::Words;

/// The page to log in at.
#[derive(Debug, Clone, Default)]
pub struct LoginPage {
    /// Language of the page.
    pub language: Language,
    /// Address that was asked for.
    pub next: String,
    /// Name that was tried.
    pub name: String,
    /// Status of the login that was refused; none before one.
    pub refused: Option<u16>,
}

impl LoginPage {
    /// The address to go on to: the one that was asked for, where it is of this server.
    ///
    /// ```
    /// use tillhouse_page::dashboard::LoginPage;
    /// assert_eq!(LoginPage::way_on("/sales?from=2026-01-01"), "/sales?from=2026-01-01");
    /// assert_eq!(LoginPage::way_on("//example.com/"), "/");
    /// ```
    pub fn way_on(next: &str) -> &str {
        let is_plain = next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let is_path = next.starts_with('/') && !next.starts_with("//");
        let is_seen = !next.starts_with(LOGIN_PATH) && !next.starts_with(LOGOUT_PATH);
        match is_plain && is_path && is_seen {
            true => next,
            false => OVERVIEW_PATH,
        }
    }

    /// The document.
    pub fn html(&self) -> String {
        let words = Words::of(self.language);
        let mut html = Html::default();
        html.raw("<!doctype html>\n");
        html.element("html", &[("lang", self.language.code())], |html| {
            head(html, words.log_in, "login.js");
            html.element("body", &[("class", "login")], |html| {
                html.element("main", &[("id", "main")], |html| {
                    html.leaf("h1", &[], "Tillhouse");
                    let said = match self.refused {
                        None => None,
                        Some(401) => Some(words.login_wrong),
                        Some(429) => Some(words.login_too_often),
                        Some(_) => Some(words.login_failed),
                    };
                    if let Some(said) = said {
                        html.leaf("p", &[("role", "alert"), ("class", "trust warn")], said);
                    }
                    self.form(html, words);
                });
            });
        });
        html.into_text()
    }

    fn form(&self, html: &mut Html, words: &Words) {
        let next = Self::way_on(&self.next);
        let attributes = [
            ("method", "post"),
            ("action", LOGIN_PATH),
            ("id", "login"),
            ("data-next", next),
        ];
        html.element("form", &attributes, |html| {
            html.open(
                "input",
                &[("type", "hidden"), ("name", "next"), ("value", next)],
            );
            let lang = self.language.code();
            html.open(
                "input",
                &[("type", "hidden"), ("name", "lang"), ("value", lang)],
            );
            html.element("label", &[], |html| {
                html.leaf("span", &[], words.name);
                html.open(
                    "input",
                    &[
                        ("name", "name"),
                        ("value", &self.name),
                        ("autocomplete", "username"),
                        ("autocapitalize", "none"),
                        ("required", ""),
                        ("autofocus", ""),
                    ],
                );
            });
            html.element("label", &[], |html| {
                html.leaf("span", &[], words.password);
                html.open(
                    "input",
                    &[
                        ("name", "password"),
                        ("type", "password"),
                        ("autocomplete", "current-password"),
                        ("required", ""),
                    ],
                );
            });
            html.leaf("button", &[("type", "submit")], words.log_in);
        });
    }
}

/// The page that says why there is no other.
#[derive(Debug, Clone, Default)]
pub struct FaultPage {
    /// The mistake, in a sentence.
    pub detail: String,
    /// The way out, where there is one.
    pub hint: Option<String>,
    /// Id of the request, as the log has it.
    pub id: String,
    /// True for a fault of the server.
    pub is_ours: bool,
}

impl FaultPage {
    /// The document.
    pub fn html(&self, view: &PageView) -> String {
        let words = view.words();
        let title = match self.is_ours {
            true => words.fault_of_ours,
            false => words.fault_of_question,
        };
        document(view, title, |html| {
            html.element(
                "div",
                &[("class", "trust warn"), ("role", "alert")],
                |html| {
                    html.leaf("p", &[("lang", "en")], &self.detail);
                    if let Some(hint) = &self.hint {
                        html.leaf("p", &[("lang", "en"), ("class", "note")], hint);
                    }
                    html.leaf(
                        "p",
                        &[("class", "note")],
                        &format!("{}: {}", words.id, self.id),
                    );
                },
            );
            // What was wrong in the question stands in its form, where it can be put right.
            match view.path.as_str() {
                _ if self.is_ours => {}
                OVERVIEW_PATH | SALES_PATH | SITES_PATH => period_form(html, view),
                RESTATED_PATH => since_form(html, view),
                _ => {}
            }
            html.element("p", &[("class", "ways")], |html| {
                let lang = view.query.get("lang");
                let query = lang.map(|lang| ViewQuery::default().with("lang", lang));
                let overview = query.unwrap_or_default().address(OVERVIEW_PATH);
                html.leaf("a", &[("href", &overview)], words.to_overview);
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_server() {
        for next in [
            "//example.com",
            "https://example.com",
            "/\\example.com",
            "/\t/example.com",
            "javascript:alert(1)",
            "",
            "/login?next=/",
            "/logout",
        ] {
            assert_eq!(LoginPage::way_on(next), OVERVIEW_PATH, "{next}");
        }
        let page = LoginPage {
            name: "\"><script>".to_owned(),
            refused: Some(401),
            ..LoginPage::default()
        };
        let html = page.html();
        assert!(html.contains("role=\"alert\"") && html.contains("&lt;script&gt;"));
        assert_eq!(html.matches("<script").count(), 1, "{html}");
    }

    #[test]
    fn a_fault_is_told_with_its_id() {
        let fault = FaultPage {
            detail: "there is no tenant \"<b>\"".to_owned(),
            hint: None,
            id: "7f".to_owned(),
            is_ours: false,
        };
        let html = fault.html(&PageView::default());
        assert!(
            html.contains("&lt;b&gt;") && html.contains(": 7f</p>"),
            "{html}"
        );
        let view = PageView {
            path: "/sales".to_owned(),
            query: ViewQuery::new([
                ("tenant", "nobody".to_owned()),
                ("lang", "de".to_owned()),
                ("from", "2026-01-01".to_owned()),
            ]),
            ..PageView::default()
        };
        let html = fault.html(&view);
        for part in [
            "name=\"tenant\" value=\"nobody\"",
            "type=\"hidden\" name=\"lang\" value=\"de\"",
            "href=\"/?lang=de\"",
            "href=\"/sites?from=2026-01-01&amp;lang=de&amp;tenant=nobody\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let view = PageView {
            path: "/restated".to_owned(),
            query: ViewQuery::new([("since", "nosuchrun".to_owned())]),
            ..PageView::default()
        };
        let html = fault.html(&view);
        assert!(
            html.contains("name=\"since\" value=\"nosuchrun\""),
            "{html}"
        );
    }
}
