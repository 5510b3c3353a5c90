//! Endpoints of SmartNow: its thirty-one resources, and where they are.
//!
//! Invariant: this table is the only place that names a path, a parent or a time column. What is not in it is never asked for;
//! above all the machines' configurations, which hold Wi-Fi keys.
//!
//! The document names the fields of every resource and few of its addresses; the paths here are those its own CSV export speaks
//! of, and each can be set in the connection's `paths`.

use tillhouse_model::{ReadBy, Resource};

/// The most records a page may have, by the document.
pub(crate) const LARGEST_PAGE: u32 = 100;

/// Path, parent and time columns of one resource.
#[derive(Debug)]
pub(crate) struct SmartNowEndpoint {
    pub(crate) name: &'static str,
    /// Below the base URL. With `{...}` in it, it is asked for every parent, whose id goes there.
    pub(crate) path: &'static str,
    /// The resource whose ids fill the path.
    pub(crate) parent: Option<&'static str>,
    /// The column that windows are cut by; without one, the resource is read whole.
    pub(crate) time: Option<&'static str>,
    /// The column that says when something was learnt of an older record.
    pub(crate) late: Option<&'static str>,
    /// True if old records move to an archive, which is asked for separately.
    pub(crate) archived: bool,
}

/// Full refresh: the lists of what there is.
const WHOLE: SmartNowEndpoint = SmartNowEndpoint {
    name: "",
    path: "",
    parent: None,
    time: None,
    late: None,
    archived: false,
};
/// Incremental by last change, which also finds what changed long after it happened.
const CHANGES: SmartNowEndpoint = SmartNowEndpoint {
    time: Some("updatedAt"),
    ..WHOLE
};
/// As `CHANGES`, of records that move to the archive when they are old.
const SALES: SmartNowEndpoint = SmartNowEndpoint {
    archived: true,
    ..CHANGES
};
/// A log is written once and has no time of last change; it gets `resolvedAt` when the trouble is over, maybe weeks later.
const LOGS: SmartNowEndpoint = SmartNowEndpoint {
    time: Some("createdAt"),
    late: Some("resolvedAt"),
    ..SALES
};
const OF_MACHINES: SmartNowEndpoint = SmartNowEndpoint {
    parent: Some("machines"),
    ..WHOLE
};

/// Every resource, facts first.
#[rustfmt::skip]
pub(crate) const ENDPOINTS: [SmartNowEndpoint; 31] = [
    SmartNowEndpoint { name: "revenue_transactions", path: "/revenuetransaction", ..SALES },
    SmartNowEndpoint { name: "payment_transactions", path: "/paymenttransaction", ..SALES },
    SmartNowEndpoint { name: "logs", path: "/log", ..LOGS },
    SmartNowEndpoint { name: "voucher_logs", path: "/voucher/{voucher}/logs", parent: Some("vouchers"), ..CHANGES },
    SmartNowEndpoint { name: "integration_records", path: "/integration/{integration}/records", parent: Some("integrations"), ..CHANGES },
    SmartNowEndpoint { name: "integration_transactions", path: "/integration/{integration}/transactions", parent: Some("integrations"), ..CHANGES },
    SmartNowEndpoint { name: "machines", path: "/machine", ..WHOLE },
    SmartNowEndpoint { name: "machine_models", path: "/machinemodel", ..WHOLE },
    SmartNowEndpoint { name: "machine_types", path: "/machinetype", ..WHOLE },
    SmartNowEndpoint { name: "manufacturers", path: "/manufacturer", ..WHOLE },
    SmartNowEndpoint { name: "machine_groups", path: "/machinegroup", ..WHOLE },
    SmartNowEndpoint { name: "locations", path: "/location", ..WHOLE },
    SmartNowEndpoint { name: "location_groups", path: "/locationgroup", ..WHOLE },
    SmartNowEndpoint { name: "shifts", path: "/shift", ..WHOLE },
    SmartNowEndpoint { name: "opening_hours", path: "/openinghours", ..WHOLE },
    SmartNowEndpoint { name: "products", path: "/product/{machine}", ..OF_MACHINES },
    SmartNowEndpoint { name: "product_extras", path: "/productextra/{machine}", ..OF_MACHINES },
    SmartNowEndpoint { name: "product_flavours", path: "/productflavour/{machine}", ..OF_MACHINES },
    SmartNowEndpoint { name: "error_profiles", path: "/errorprofile", ..WHOLE },
    SmartNowEndpoint { name: "error_identities", path: "/erroridentity", ..WHOLE },
    SmartNowEndpoint { name: "error_codes", path: "/errorcode", ..WHOLE },
    SmartNowEndpoint { name: "transaction_profiles", path: "/transactionprofile", ..WHOLE },
    SmartNowEndpoint { name: "languages", path: "/language", ..WHOLE },
    SmartNowEndpoint { name: "users", path: "/user", ..WHOLE },
    SmartNowEndpoint { name: "user_groups", path: "/usergroup", ..WHOLE },
    SmartNowEndpoint { name: "alert_observers", path: "/alertobserver", ..WHOLE },
    SmartNowEndpoint { name: "alert_groups", path: "/alertgroup", ..WHOLE },
    SmartNowEndpoint { name: "alert_recipients", path: "/alertrecipient", ..WHOLE },
    SmartNowEndpoint { name: "campaigns", path: "/campaign", ..WHOLE },
    // Where there is no list of all vouchers, `/campaign/{campaign}/vouchers` in `paths` asks campaign by campaign.
    SmartNowEndpoint { name: "vouchers", path: "/voucher", parent: Some("campaigns"), ..WHOLE },
    SmartNowEndpoint { name: "integrations", path: "/integration", ..WHOLE },
];

const fn resources() -> [Resource; ENDPOINTS.len()] {
    let mut all = [const { Resource::FULL_REFRESH }; ENDPOINTS.len()];
    let mut at = 0;
    while at < ENDPOINTS.len() {
        if ENDPOINTS[at].time.is_some() {
            all[at] = Resource::INCREMENTAL;
        }
        all[at].name = ENDPOINTS[at].name;
        all[at].largest_page = Some(LARGEST_PAGE);
        all[at].follows_changes = ENDPOINTS[at].late.is_some();
        // A record that is not found late is found by its last change.
        if ENDPOINTS[at].time.is_some() && !all[at].follows_changes {
            all[at].read_by = ReadBy::ChangeTime;
        }
        at += 1;
    }
    all
}

/// Resources of SmartNow.
pub const RESOURCES: &[Resource] = &resources();

/// The endpoint of that name.
pub(crate) fn find(name: &str) -> Option<&'static SmartNowEndpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_resource_has_a_name_of_its_own_and_every_parent_exists() {
        let names: BTreeSet<&str> = RESOURCES.iter().map(|resource| resource.name).collect();
        assert_eq!(names.len(), 31);
        for endpoint in &ENDPOINTS {
            assert!(
                endpoint.parent.is_none_or(|parent| names.contains(parent)),
                "{}",
                endpoint.name
            );
            assert!(
                !endpoint.path.contains('{') || endpoint.parent.is_some(),
                "{}",
                endpoint.name
            );
        }
    }

    #[test]
    fn what_is_listed_by_its_last_change_is_read_by_change_time() {
        let windows = || {
            RESOURCES
                .iter()
                .zip(&ENDPOINTS)
                .filter(|(_, endpoint)| endpoint.time.is_some())
        };
        assert_eq!(windows().count(), 6);
        for (resource, endpoint) in windows() {
            let by = if endpoint.time == Some("updatedAt") {
                ReadBy::ChangeTime
            } else {
                ReadBy::EventTime
            };
            assert_eq!(
                (resource.read_by, resource.follows_changes),
                (by, endpoint.late.is_some()),
                "{}",
                resource.name
            );
        }
    }

    #[test]
    fn no_configuration_of_a_machine_is_asked_for() {
        assert!(
            ENDPOINTS
                .iter()
                .all(|endpoint| !endpoint.path.contains("config"))
        );
    }
}
