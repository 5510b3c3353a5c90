//! Markup under construction, and text that means itself in it.
//!
//! Invariant: markup is text of the program, known when it is compiled; everything else goes in through [`escaped`] alone, as text or as the value of an attribute.

use tillhouse_model::terminal_escape::escape_controls;

/// Attributes of an element: names of ours, values of anybody's.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a str)];

/// Markup under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Html(String);

impl Html {
    /// Adds markup of ours.
    pub(crate) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Adds text.
    pub(crate) fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(text));
    }

    /// Adds an element, and what `inside` adds as its content.
    pub(crate) fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        inside(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// Adds an element with a text as its content.
    pub(crate) fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>, text: &str) {
        self.element(tag, attributes, |html| html.text(text));
    }

    /// Adds the start of an element: all of one that has no content.
    pub(crate) fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.0.push_str(&escaped(value));
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// The markup.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Text that means itself in HTML, also within an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escape_controls(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_means_itself() {
        assert_eq!(
            escaped("<b a='1'>&\"\u{0}"),
            "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\\u{0}"
        );
    }

    #[test]
    fn nobody_gets_out_of_a_text_or_an_attribute() {
        let mut html = Html::default();
        html.element("a", &[("href", "/x?\"><script>"), ("class", "n")], |html| {
            html.leaf("b", &[], "</b></a><script>1</script>");
            html.open("br", &[]);
        });
        assert_eq!(
            html.into_text(),
            "<a href=\"/x?&quot;&gt;&lt;script&gt;\" class=\"n\"><b>&lt;/b&gt;&lt;/a&gt;&lt;script&gt;1&lt;/script&gt;</b><br></a>"
        );
    }
}
