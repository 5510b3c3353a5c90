//! Bodies of successes, and what they say against themselves.
//!
//! Invariant: each is what some server said, or is feared to say.

use super::*;

#[test]
fn what_failed_says_so_in_many_ways() {
    for page in [
        r#"{"status":"error","data":[]}"#,
        r#"{"status":" Failed "}"#,
        r#"{"Status":"FAILED","data":[]}"#,
        r#"{"STATUS":"ERROR","data":[]}"#,
        r#"{"status":500,"data":[]}"#,
        r#"{"status":"INTERNAL_ERROR","data":[]}"#,
        r#"{"status":"InternalServerError","data":[]}"#,
        r#"{"status":false,"data":[]}"#,
        r#"{"statusCode":"503","message":"later","data":[]}"#,
        r#"{"code":429}"#,
        r#"{"returnCode":-1,"data":[]}"#,
        r#"{"result":"failure","data":null}"#,
        r#"{"result":"KO","data":[]}"#,
        r#"{"error":"down"}"#,
        r#"{"Error":"x","data":[]}"#,
        r#"{"Errors":["x"],"data":[]}"#,
        r#"{"error":true,"data":[]}"#,
        r#"{"error":17}"#,
        r#"{"error":{"code":1}}"#,
        r#"{"errorCode":"E1","data":[]}"#,
        r#"{"error_code":17,"data":[]}"#,
        r#"{"ERROR-CODE":17,"data":[]}"#,
        r#"{"errorMessage":"boom","data":[]}"#,
        r#"{"hasError":true,"data":[]}"#,
        r#"{"errorCount":2,"data":[]}"#,
        r#"{"data":[],"errors":[{"title":"down"}],"meta":{"count":0}}"#,
        r#"{"errors":["down"]}"#,
        r#"{"errors":{"page":["down"]}}"#,
        r#"{"fault":{"faultstring":"down"}}"#,
        r#"{"FaultString":"down"}"#,
        r#"{"exceptionMessage":"boom","data":[]}"#,
        r#"{"problem":"boom","data":[]}"#,
        r#"{"Fehler":"kaputt","data":[]}"#,
        r#"{"success":false,"data":[]}"#,
        r#"{"Success":false,"data":[]}"#,
        r#"{"isSuccess":false,"data":[]}"#,
        r#"{"is_success":0,"data":[]}"#,
        r#"{"success":"false"}"#,
        r#"{"success":"failed"}"#,
        r#"{"ok":0,"data":[]}"#,
        r#"{"succeeded":false,"data":[]}"#,
        r#"{"failed":true,"data":[]}"#,
        r#"{"type":"ERROR","data":[]}"#,
        r#"{"message":"Internal server error","data":[]}"#,
        r#"{"success":true,"message":"Database unavailable","data":[]}"#,
        r#"{"messages":[{"text":"timed out"}],"data":[]}"#,
        r#"{"meta":{"error":"boom","total":0},"data":[]}"#,
        r#"{"meta":{"status":"error"},"data":[]}"#,
        r#"{"_meta":{"Status":{"code":500}},"data":[]}"#,
        r#"{"response":{"status":{"text":"failed"}},"data":[]}"#,
        r#"{"status":"failed","message":"Caf\ud83d","data":[]}"#,
        "\u{feff}{\"error\":\"down\"}",
        r#"{"warnings":["timeout, partial result"],"data":[]}"#,
        r#"{"warning":"Result truncated","total":0,"data":[]}"#,
        r#"{"notices":[{"text":"results are incomplete"}],"data":[]}"#,
        r#"{"meta":{"warnings":[{"code":"W1","detail":"Zeitüberschreitung"}]},"data":[]}"#,
        r#"{"note":"Résultat partiel","data":[]}"#,
        r#"{"partial":true,"data":[]}"#,
        r#"{"status":"ok","partial":1,"total":0,"data":[]}"#,
        r#"{"Incomplete":"true","data":[]}"#,
        r#"{"incomplete_results":true,"total_count":0,"items":[]}"#,
        r#"{"timed_out":true,"hits":[]}"#,
        r#"{"timeout":true,"data":[]}"#,
        r#"{"truncated":{"reason":"size"},"data":[]}"#,
        r#"{"pagination":{"is_truncated":true},"data":[]}"#,
        r#"{"_shards":{"total":5,"failed":3},"data":[]}"#,
        r#"{"complete":false,"data":[]}"#,
        r#"{"isComplete":"no","data":[]}"#,
        r#"{"status":206,"data":[]}"#,
        r#"{"status":"partial","data":[]}"#,
        r#"{"state":"TIMED_OUT","data":[]}"#,
    ] {
        assert_eq!(of(page.as_bytes()), Some(EnvelopeError::Failure), "{page}");
    }
}

#[test]
fn what_failed_says_so_in_many_languages_and_codes() {
    for said in [
        r#""statut":"erreur""#,
        r#""statut":"échec""#,
        r#""estado":"fallido""#,
        r#""stato":"errore""#,
        r#""esito":"fallito""#,
        r#""estado":"erro""#,
        r#""status":"błąd""#,
        r#""status":"fel""#,
        r#""status":"fout""#,
        r#""status":"错误""#,
        r#""codigo":500"#,
        r#""codice":"503""#,
        r#""erreurs":["x"]"#,
        r#""erreurs":[{"code":"X","message":"Panne"}]"#,
        r#""errores":["x"]"#,
        r#""errori":["x"]"#,
        r#""errore":"x""#,
        r#""erro":"x""#,
        r#""erros":{"a":"x"}"#,
        r#""fout":"x""#,
        r#""fouten":["x"]"#,
        r#""błąd":"x""#,
        r#""fel":"x""#,
        r#""错误":"数据库""#,
        r#""message":"数据库错误""#,
        r#""message":"Wystąpił błąd serwera""#,
        r#""message":"Det gick inte att läsa""#,
        r#""message":"Serviço indisponível""#,
        r#""message":"Servizio non disponibile""#,
        r#""erfolg":false"#,
        r#""erfolg":"nein""#,
        r#""succès":false"#,
        r#""sucesso":false"#,
        r#""responseCode":"E1001""#,
        r#""returnCode":8"#,
        r#""resultCode":"99""#,
        r#""ret_code":"DB2""#,
        r#""trace":"System.NullReferenceException at Foo""#,
        r#""trace":"System.TimeoutException: backend""#,
        r#""stackTrace":["at Foo line 7"]"#,
        r#""job":{"state":"running"}"#,
        r#""status":"in_progress""#,
        r#""status":"PENDING""#,
        r#""état":0,"status":"en cours""#,
        r#""ready":false"#,
        r#""stale":true"#,
        r#""total":-1"#,
        r#""count":"-1""#,
        r#""count":"viele""#,
    ] {
        for page in [
            format!(r#"{{"data":[],{said}}}"#),
            format!(r#"{{{said},"status_text":"ok","data":null,"meta":{{"total":0,"count":0}}}}"#),
            format!(r#"{{"success":true,"data":[],"meta":{{{said}}}}}"#),
        ] {
            assert_eq!(of(page.as_bytes()), Some(EnvelopeError::Failure), "{page}");
        }
    }
    for said in [
        r#""statut":"succès""#,
        r#""estado":"éxito""#,
        r#""codigo":200"#,
        r#""codigo":0"#,
        r#""errores":[]"#,
        r#""errori":null"#,
        r#""erreur":"aucune""#,
        r#""fout":"geen""#,
        r#""错误":"无""#,
        r#""erfolg":true"#,
        r#""responseCode":"E0000""#,
        r#""responseCode":"0""#,
        r#""returnCode":0"#,
        r#""resultCode":"200""#,
        r#""resultCode":"OK""#,
        r#""trace":null"#,
        r#""trace":"4bf92f3577b34da6""#,
        r#""job":{"state":"finished"}"#,
        r#""ready":true"#,
        r#""stale":false"#,
        r#""total":"0""#,
        r#""count":"""#,
        r#""size":"large""#,
    ] {
        let page = format!(r#"{{"data":[],{said}}}"#);
        assert_eq!(of(page.as_bytes()), None, "{page}");
    }
}

#[test]
fn a_text_of_which_nothing_is_known_is_doubtful() {
    for page in [
        r#"{"Message":"boom"}"#,
        r#"{"message":"boom","data":[]}"#,
        r#"{"message":"internal"}"#,
        r#"{"detail":"x","title":"y","data":[]}"#,
        r#"{"status":"draft","data":[]}"#,
        r#"{"code":"E1","data":[]}"#,
        r#"{"code":1017,"data":[]}"#,
        r#"{"message":"Account not found","data":[]}"#,
        r#"{"meta":{"message":"boom"},"data":[]}"#,
        r#""boom""#,
        r#"{"warnings":["boom"],"data":[]}"#,
        r#"{"warnings":true,"data":[]}"#,
        r#"{"warningCount":2,"data":[]}"#,
        r#"{"notice":{"text":"boom"},"data":[]}"#,
        r#"{"message":"keine Verbindung zur Datenbank","data":[]}"#,
        r#"{"message":"No route found","data":[]}"#,
        r#"{"message":"No backend ready","data":[]}"#,
        r#"{"message":"No sessions could be loaded","data":[]}"#,
        r#"{"message":"No data access","data":[]}"#,
        r#"{"message":"empty reply from upstream","data":[]}"#,
        r#"{"message":"API v2.0 data service starting","data":[]}"#,
        r#"{"message":"Session not found","data":[]}"#,
        r#"{"error":"no transactions found","data":[]}"#,
        r#"{"error":"No records found","status":"ok","data":[]}"#,
    ] {
        assert_eq!(of(page.as_bytes()), Some(EnvelopeError::Remark), "{page}");
    }
    for page in [
        r#"{"status":"ok","message":"boom","data":[]}"#,
        r#"{"success":true,"message":"boom","data":[]}"#,
        r#"{"code":200,"message":"boom","data":[]}"#,
        r#"{"meta":{"total":0},"message":"boom","data":[]}"#,
    ] {
        assert_eq!(of(page.as_bytes()), Some(EnvelopeError::Note), "{page}");
    }
}

#[test]
fn good_words_are_no_complaint() {
    for page in [
        r#"{"status":"ok","data":[]}"#,
        r#"{"Status":"Success","message":"OK","data":[]}"#,
        r#"{"status":"success","code":200,"data":[]}"#,
        r#"{"status":204}"#,
        r#"{"status":0,"code":0,"result":1,"data":[]}"#,
        r#"{"code":"E-MPTY","data":[]}"#,
        r#"{"status":"Success","errors":[],"data":[]}"#,
        r#"{"errors":null,"error":null}"#,
        r#"{"errors":{},"error":""}"#,
        r#"{"errors":[ [ ] ],"error":false}"#,
        r#"{"error":0,"fault":"none","exception":"null"}"#,
        r#"{"error":{"code":0,"message":""},"data":[]}"#,
        r#"{"errorCode":"0","errorMessage":"No error","hasErrors":false,"data":[]}"#,
        r#"{"errorCode":200,"data":[]}"#,
        r#"{"success":true,"ok":1,"failed":0,"data":[]}"#,
        r#"{"message":"nothing found","data":[]}"#,
        r#"{"message":"","msg":null,"detail":" ","data":[]}"#,
        r#"{"message":"Request completed without errors","data":[]}"#,
        r#"{"message":"No data found","data":[]}"#,
        r#"{"message":"0 records found","data":[]}"#,
        r#"{"message":"Records not found.","data":[]}"#,
        r#"{"title":"Transactions retrieved","data":[]}"#,
        r#"{"meta":{"status":"ok","message":"success","total":0},"data":[]}"#,
        r#"{"type":"list","default":"x","data":[]}"#,
        r#"{"filter":{"status":"failed"},"data":[]}"#,
        r#"{"warnings":[],"data":[]}"#,
        r#"{"warnings":null,"notices":{},"note":"","data":[]}"#,
        r#"{"warnings":["No data found"],"warningCount":0,"hasWarnings":false,"data":[]}"#,
        r#"{"partial":false,"incomplete":"false","truncated":0,"timed_out":null,"data":[]}"#,
        r#"{"timeout":30,"maintenance":"Sundays, 2 to 3","data":[]}"#,
        r#"{"_shards":{"total":5,"failed":0},"complete":true,"data":[]}"#,
        "[]",
        "null",
        "7",
        "",
        "<html>",
    ] {
        assert_eq!(of(page.as_bytes()), None, "{page}");
    }
}

#[test]
fn nothing_is_said_in_many_languages() {
    for message in [
        "no sessions in this period",
        "No charging sessions",
        "nothing found",
        "0 results",
        "0 records for 2026-01-01",
        "Records found: 0",
        "Results = 0",
        "zero rows",
        "No matching transactions.",
        "NO_DATA",
        "noData",
        "No sales for the selected machine",
        "There are no entries",
        "Empty result set",
        "The result is empty",
        "No new data",
        "Keine Daten gefunden",
        "Keine Datensätze vorhanden",
        "Für diesen Zeitraum liegen keine Umsätze vor",
        "Es wurden keine passenden Transaktionen gefunden",
        "Keine Verkaufsdaten",
        "Daten nicht gefunden",
        "Kein Eintrag",
        "Keine Ladevorgänge",
        "Nichts gefunden",
        "0 Treffer",
        "Aucune donnée trouvée",
        "Aucun résultat",
        "Pas de transactions",
        "Pas d'enregistrement pour cette période",
        "Il n'y a pas de ventes",
        "Données introuvables",
        "0 résultat",
        "Liste vide",
        "Rien trouvé",
        "No hay datos",
        "No se encontraron resultados",
        "No se han encontrado transacciones",
        "Ningún registro",
        "Sin datos",
        "Registros no encontrados",
        "0 registros",
        "Nada encontrado",
        "Geen gegevens gevonden",
        "Geen resultaten",
        "Er zijn geen transacties",
        "Gegevens niet gevonden",
        "Niets gevonden",
        "0 rijen",
        "Lege lijst",
        "No transactions available",
        "No data yet for this period",
        "No data available at this time.",
        "No records returned",
        "No transactions between 2026-01-01T00:00:00Z and 2026-01-31",
        "There were no sales on Monday, 5 January 2026",
        "Keine Transaktionen verfügbar",
        "Noch keine Daten für diesen Zeitraum",
        "Im Zeitraum vom 01.01.2026 bis 31.01.2026 sind keine Belege vorhanden",
        "Aucune transaction disponible",
        "Pas encore de données pour cette période",
        "No hay transacciones disponibles",
        "Aún no hay datos para este periodo",
        "Geen transacties beschikbaar",
        "Nog geen gegevens voor deze periode",
    ] {
        let page = serde_json::json!({ "message": message, "data": [] }).to_string();
        assert_eq!(of(page.as_bytes()), None, "{message}");
    }
    for message in [
        "Keine Daten wegen Wartung",
        "Die Daten konnten nicht geladen werden",
        "Données indisponibles",
        "Aucune donnée : délai dépassé",
        "No se pudieron cargar los datos",
        "Geen gegevens: storing",
        "0 records, partial result",
        "No records returned: query timed out",
    ] {
        let page = serde_json::json!({ "message": message, "data": [] }).to_string();
        assert_eq!(
            of(page.as_bytes()),
            Some(EnvelopeError::Failure),
            "{message}"
        );
    }
}

#[test]
fn what_begins_like_nothing_and_goes_on_is_not_believed() {
    for message in [
        "0 rows, query cancelled",
        "0 results (2 of 3 nodes)",
        "Nothing found - replication in progress",
        "No data available yet, import still running",
        "Keine Daten gefunden, Dienst gestört",
        "No data (stale cache)",
        "no records loaded from replica",
        "No data received from HecOne core",
        "No sessions found, license has lapsed",
        "No data: access restricted to site 7",
        "No data could be loaded",
        "No records returned because the database is read-only",
        "No records from 2 of 3 machines",
        "0 results, 1/2 pages",
        "Nichts gefunden, Import läuft noch",
        "Keine Daten, Synchronisation läuft",
        "Aucune donnée, service en cours de mise à jour",
        "Liste vide : réplication en retard",
        "No hay datos, importación en curso",
        "Sin datos: servicio detenido",
        "Geen gegevens, import loopt nog",
        "Niets gevonden, dienst gestopt",
        "OK, but the import is still running",
        "0 records, see ticket",
        "Keine Zugangsdaten",
    ] {
        let page = serde_json::json!({ "message": message, "data": [] }).to_string();
        let found = of(page.as_bytes());
        assert!(
            found.is_some_and(|found| found >= EnvelopeError::Remark),
            "{message}: {found:?}"
        );
    }
}

#[test]
fn a_second_error_is_seen_beside_a_text_that_is_known() {
    let known = |text: &str| text == "nix da";
    for (page, more) in [
        (r#"{"message":"nix da","data":[]}"#, false),
        (
            r#"{"status":"Error","message":"nix da","data":null}"#,
            false,
        ),
        (
            r#"{"errors":[{"title":"Not Found","detail":"nix da"}]}"#,
            false,
        ),
        (r#"{"error":"nix da","code":"E 17","data":[]}"#, false),
        (r#"{"error":"nix da","message":"No data found"}"#, false),
        (r#"{"message":"nix da","error":"database is down"}"#, true),
        (r#"{"errors":["nix da","The licence has lapsed"]}"#, true),
        (
            r#"{"errors":[{"detail":"nix da"},{"detail":"replica is behind"}]}"#,
            true,
        ),
        (
            r#"{"meta":{"warning":"result cut at node 3"},"message":"nix da"}"#,
            true,
        ),
    ] {
        assert_eq!(says_more(page.as_bytes(), &known), more, "{page}");
    }
}

#[test]
fn the_error_says_how_a_message_is_let_through() {
    let hint = |complaint: EnvelopeError, words| {
        complaint
            .error(StatusCode::OK, words)
            .hint_text()
            .unwrap()
            .to_owned()
    };
    let told = hint(EnvelopeError::Remark, Some("nix \"da\" für ***"));
    assert!(
        told.contains(r#"empty_messages: ["nix \"da\" für *"]"#),
        "{told}"
    );
    assert!(!hint(EnvelopeError::Remark, None).contains("empty_messages"));
    assert!(!hint(EnvelopeError::Failure, Some("down")).contains("empty_messages"));
    assert!(
        hint(EnvelopeError::Failure, Some("Nichts da heute"))
            .contains(r#"empty_messages: ["Nichts da heute"]"#)
    );
}

#[test]
fn an_empty_page_can_claim_that_there_is_more() {
    for (page, claim) in [
        (r#"{"data":[],"hasMore":true}"#, Some("hasMore: true")),
        (
            r#"{"data":[],"meta":{"has_next_page":true}}"#,
            Some("has_next_page: true"),
        ),
        (r#"{"data":[],"totalCount":6}"#, Some("totalCount: 6")),
        (r#"{"meta":{"Total":9},"data":[]}"#, Some("Total: 9")),
        (r#"{"data":[],"totalCount":6.0}"#, Some("totalCount: 6")),
        (r#"{"data":[],"hasMore":false,"total":5,"count":0}"#, None),
        (r#"{"data":[],"size":500,"page":7}"#, None),
        (r#"{"data":[],"total":"7"}"#, None),
        ("[]", None),
        ("", None),
    ] {
        assert_eq!(
            claim_of_more(page.as_bytes(), 5).as_deref(),
            claim,
            "{page}"
        );
    }
}
