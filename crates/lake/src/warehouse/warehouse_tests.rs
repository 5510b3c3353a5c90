//! Opening warehouses: formats, foreign folders, odd paths, races.
//!
//! Invariant: nothing is written into a folder that holds something else.

use super::*;
use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, source_spec};
use std::collections::BTreeMap;

fn at(url: impl Into<String>) -> WarehouseLocation {
    WarehouseLocation::new(url)
}

#[tokio::test]
async fn folders_are_made_and_odd_names_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/Kasse 100% ä#?");
    for round in 0..2 {
        let warehouse = Warehouse::open(&at(path.to_str().unwrap())).await.unwrap();
        assert!(path.exists() == (round > 0), "opening writes nothing");
        assert_eq!(warehouse.is_there(), round > 0);
        warehouse.prepare().await.unwrap();
        let table = warehouse.source_table("hec one", Arc::new(source_spec()));
        table
            .land(
                vec![page(
                    "2026-03-01T00:00:00Z",
                    &[FixtureRecord("a", None, 1, None)],
                )],
                &run("r"),
            )
            .await
            .unwrap();
        let open = warehouse
            .open_at("hec one/transactions", None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (open.version, open.figures.files, open.figures.rows),
            (1, 1, Some(1))
        );
        assert!(open.figures.bytes > 0 && open.schema.field_with_name("articles").is_ok());
        assert_eq!(
            warehouse.source_tables().await.unwrap(),
            [("hec one".to_owned(), "transactions".to_owned())]
        );
    }
    assert!(path.join("hec one/transactions/_delta_log").is_dir());
    let by_url = Warehouse::open(&at(url::Url::from_directory_path(&path).unwrap()))
        .await
        .unwrap();
    assert_eq!(by_url.source_tables().await.unwrap().len(), 1);
}

#[tokio::test]
async fn whatever_a_folder_is_called_it_works_to_the_end_or_is_refused_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let fine = [
        "w 1", "w#1", "w?x", "wäö", "w~1", "w%", "100 %", "w%zz", "w%4", "w[1]", "w*", "w:1",
        "w+1", "w&1", "w'1", "w\"1", "w|1", "w<1>", "w;1", "w@1", "w=1", ".w", "w.", "w{1}", "w^1",
        "w`1", "W̊", "税", "$w", "!w", "w,1",
    ];
    for name in fine {
        let path = folder.path().join(name);
        let place = at(path.to_str().unwrap());
        place
            .check()
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        for _ in 0..2 {
            let warehouse = Warehouse::open(&place).await.unwrap();
            warehouse.prepare().await.unwrap();
            let table = warehouse.source_table("hecone", Arc::new(source_spec()));
            table
                .land(
                    vec![page(
                        "2026-03-01T00:00:00Z",
                        &[FixtureRecord("a", None, 1, None)],
                    )],
                    &run("r"),
                )
                .await
                .unwrap();
        }
        let warehouse = Warehouse::open(&place).await.unwrap();
        let rows = crate::faulty_store::sql(
            &warehouse,
            "hecone/transactions",
            None,
            "SELECT count(*) FROM t",
        )
        .await;
        assert_eq!(rows, ["1"], "{name}");
    }
    let made = std::fs::read_dir(folder.path()).unwrap().count();
    for name in [
        "w%41", "w%2F", "w%2f1", "w%%41", "%2e%2e", "w%C3%A4", "w\\1", "w\t1", "w\n1", "a%20b/w",
        "w%00",
    ] {
        let place = at(folder.path().join(name).to_str().unwrap());
        let error = place.check().expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Config, "{name}");
        assert!(
            error.hint_text().unwrap().contains("percent sign"),
            "{error:?}"
        );
        assert!(Warehouse::open(&place).await.is_err(), "{name}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        made,
        "nothing is made for a name that is refused"
    );
}

#[tokio::test]
async fn other_folders_formats_and_storages_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".DS_Store"), "").unwrap();
    Warehouse::open(&at(folder.path().to_str().unwrap()))
        .await
        .unwrap()
        .prepare()
        .await
        .unwrap();
    for (version, hint) in [(3, "newer"), (1, "tillhouse upgrade")] {
        std::fs::write(
            folder.path().join(FORMAT_FILE),
            format!("{{\"format_version\":{version}}}"),
        )
        .unwrap();
        let error = Warehouse::open(&at(folder.path().to_str().unwrap()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
    }
    std::fs::write(folder.path().join(FORMAT_FILE), "").unwrap();
    let error = Warehouse::open(&at(folder.path().to_str().unwrap()))
        .await
        .unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("write it anew"),
        "{error:?}"
    );
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("thesis.doc"), "").unwrap();
    let error = Warehouse::open(&at(foreign.path().to_str().unwrap()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(std::fs::read_dir(foreign.path()).unwrap().count(), 1);
    let error = Warehouse::open(&at("s3://user:hunter2@bucket/x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("hunter2"));
    let secret = WarehouseLocation {
        url: "x".to_owned(),
        options: BTreeMap::from([("key".to_owned(), "hunter2".into())]),
        variables: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned())]),
    };
    assert!(!format!("{secret:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_warehouse_without_its_format_is_told_from_other_folders_by_its_list_of_runs() {
    let folder = tempfile::tempdir().unwrap();
    let place = at(folder.path().to_str().unwrap());
    Warehouse::open(&place)
        .await
        .unwrap()
        .prepare()
        .await
        .unwrap();
    std::fs::create_dir_all(folder.path().join("hecone/transactions")).unwrap();
    let log = folder.path().join("ops/runs/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("00000000000000000000.json"), "{}").unwrap();
    let format = std::fs::read(folder.path().join(FORMAT_FILE)).unwrap();
    std::fs::remove_dir_all(folder.path().join("ops/format")).unwrap();
    let error = Warehouse::open(&place).await.unwrap_err();
    assert!(error.to_string().contains("format.json"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("{\"format_version\":2}"), "{hint}");
    // As the hint says.
    std::fs::create_dir_all(folder.path().join("ops/format")).unwrap();
    std::fs::write(folder.path().join(FORMAT_FILE), format).unwrap();
    Warehouse::open(&place).await.unwrap();
    // Without all of ops nobody can tell.
    std::fs::remove_dir_all(folder.path().join("ops")).unwrap();
    let error = Warehouse::open(&place).await.unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("folder ops"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_told_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse");
    std::fs::write(&file, "x").unwrap();
    for place in [file.clone(), file.join("below")] {
        let error = Warehouse::open(&at(place.to_str().unwrap()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("a file stands"), "{error}");
        assert!(error.hint_text().unwrap().contains("warehouse.url"));
    }
}

#[tokio::test]
async fn two_creators_of_one_table_agree() {
    let place = TempWarehouse::new();
    let (one, two) = (place.open().await, place.open().await);
    let spec = Arc::new(source_spec());
    let rival = two.source_table("hecone", spec.clone());
    place.store.before_next_commit(move || {
        Box::pin(async move {
            rival
                .land(
                    vec![page(
                        "2026-03-01T00:00:00Z",
                        &[FixtureRecord("a", None, 1, None)],
                    )],
                    &run("two"),
                )
                .await
                .unwrap();
        })
    });
    let table = one.source_table("hecone", spec);
    let landed = table
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[
                    FixtureRecord("a", None, 1, None),
                    FixtureRecord("b", None, 1, None),
                ],
            )],
            &run("one"),
        )
        .await
        .unwrap();
    assert_eq!((landed.new, landed.unchanged, landed.version), (1, 1, 2));
}

#[cfg(unix)]
#[tokio::test]
async fn what_stands_in_the_place_of_the_format_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let location = WarehouseLocation::new(folder.path().display().to_string());
    let warehouse = Warehouse::open(&location).await.unwrap();
    warehouse.prepare().await.unwrap();
    let file = folder.path().join(FORMAT_FILE);
    for kind in ["a folder", "a pipe"] {
        let _ = std::fs::remove_file(&file);
        let _ = std::fs::remove_dir(&file);
        let made = match kind {
            "a folder" => std::process::Command::new("mkdir").arg(&file).status(),
            _ => std::process::Command::new("mkfifo").arg(&file).status(),
        };
        assert!(made.unwrap().success());
        let error = warehouse.format().await.err().unwrap();
        assert!(error.to_string().contains(kind), "{error:?}");
        assert!(error.hint_text().unwrap().contains("Move it away"));
    }
}
