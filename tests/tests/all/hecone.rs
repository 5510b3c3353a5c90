//! HecOne's contract and unify SQL, on the document's own samples: the list's and that of one transaction.
//!
//! Invariant: what comes out of the samples stands in golden files, value by value. They hold the word `string` where a provider would write
//! a currency, a time zone or a state; that is told, and costs no row.

use crate::bench::{Bench, shown};

const BENCH: Bench = Bench { source: "hecone", records_at: &["data"], scope: None, parameters: &[] };
const TABLES: [&str; 9] =
    ["transactions", "articles", "payments", "events", "sites", "devices", "points", "products", "tenants"];

#[test]
fn the_documents_samples_are_decoded_and_what_is_no_value_is_told() {
    for sample in ["transactions", "transaction"] {
        let decoded = BENCH.decode("transactions", &BENCH.sample(sample));
        assert_eq!((decoded.rejects.len(), decoded.unknown.len()), (0, 0), "{sample}");
        let told: Vec<_> = decoded.warnings.iter().map(|w| format!("{} {} {}", w.field, w.rule, w.original)).collect();
        let text = format!("{}{}", shown(&[decoded.batch]), told.join("\n"));
        for closed in ["john.doe", "5168", "customer_url", "qr_code", "pin:"] {
            assert!(!text.contains(closed), "{closed} in {text}");
        }
        insta::assert_snapshot!(format!("hecone_decoded_{sample}"), text);
    }
}

#[tokio::test]
async fn the_documents_samples_are_unified() {
    for sample in ["transactions", "transaction"] {
        let session = BENCH.session(&[("transactions", BENCH.sample(sample))]);
        for table in TABLES {
            let rows = BENCH.unified(&session, table).await;
            insta::assert_snapshot!(format!("hecone_unified_{sample}_{table}"), shown(&rows));
        }
    }
}
