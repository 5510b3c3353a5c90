//! What SmartNow can be asked for, and where: the thirty resources.
//!
//! Invariant: this table is the only place that names a path, a parent or a time column. What is not in it is never asked for;
//! above all the machines' configurations, which hold Wi-Fi keys.
//!
//! The document names the fields of every resource and few of its addresses; the paths here are those its own CSV export speaks
//! of, and each can be set in the connection's `paths`.

use tillhouse_model::Resource;

/// The most records a page may have, by the document.
pub(crate) const LARGEST_PAGE: u32 = 100;

/// One resource: where it is listed, and by what time.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    /// Below the base URL. With `{...}` in it, it is asked for every parent, whose id goes there.
    pub(crate) path: &'static str,
    /// The resource whose ids fill the path.
    pub(crate) parent: Option<&'static str>,
    /// The column that windows are cut by; without one, the resource is read whole.
    pub(crate) time: Option<&'static str>,
    /// The column that says when something was learnt of an older record.
    pub(crate) late: Option<&'static str>,
    /// Whether old records move to an archive, which is asked for separately.
    pub(crate) archived: bool,
    /// Whether records have a `price` and a `currency`.
    pub(crate) priced: bool,
}

const fn whole(name: &'static str, path: &'static str) -> Endpoint {
    Endpoint { name, path, parent: None, time: None, late: None, archived: false, priced: false }
}

const fn of(parent: &'static str, endpoint: Endpoint) -> Endpoint {
    Endpoint { parent: Some(parent), ..endpoint }
}

const fn by(time: &'static str, endpoint: Endpoint) -> Endpoint {
    Endpoint { time: Some(time), ..endpoint }
}

/// The sales and payments: by their last change, which also finds what changed long after it happened.
const fn sales(name: &'static str, path: &'static str) -> Endpoint {
    Endpoint { archived: true, priced: true, ..by("updatedAt", whole(name, path)) }
}

/// Every resource, facts first.
pub(crate) const ENDPOINTS: [Endpoint; 30] = [
    sales("revenue_transactions", "/revenuetransaction"),
    sales("payment_transactions", "/paymenttransaction"),
    // A log is written once and has no time of last change; it gets `resolvedAt` when the trouble is over, maybe weeks later.
    Endpoint { archived: true, late: Some("resolvedAt"), ..by("createdAt", whole("logs", "/log")) },
    of("vouchers", by("updatedAt", whole("voucher_logs", "/voucher/{voucher}/logs"))),
    of("integrations", by("updatedAt", whole("integration_transactions", "/integration/{integration}/transactions"))),
    whole("machines", "/machine"),
    whole("machine_models", "/machinemodel"),
    whole("machine_types", "/machinetype"),
    whole("manufacturers", "/manufacturer"),
    whole("machine_groups", "/machinegroup"),
    whole("locations", "/location"),
    whole("location_groups", "/locationgroup"),
    whole("shifts", "/shift"),
    whole("opening_hours", "/openinghours"),
    of("machines", whole("products", "/product/{machine}")),
    of("machines", whole("product_extras", "/productextra/{machine}")),
    of("machines", whole("product_flavours", "/productflavour/{machine}")),
    whole("error_profiles", "/errorprofile"),
    whole("error_identities", "/erroridentity"),
    whole("error_codes", "/errorcode"),
    whole("transaction_profiles", "/transactionprofile"),
    whole("languages", "/language"),
    whole("users", "/user"),
    whole("user_groups", "/usergroup"),
    whole("alert_observers", "/alertobserver"),
    whole("alert_groups", "/alertgroup"),
    whole("alert_recipients", "/alertrecipient"),
    whole("campaigns", "/campaign"),
    // Where there is no list of all vouchers, `/campaign/{campaign}/vouchers` in `paths` asks campaign by campaign.
    of("campaigns", whole("vouchers", "/voucher")),
    whole("integrations", "/integration"),
];

const fn resources() -> [Resource; ENDPOINTS.len()] {
    let mut all = [const { Resource::WHOLE }; ENDPOINTS.len()];
    let mut at = 0;
    while at < ENDPOINTS.len() {
        if ENDPOINTS[at].time.is_some() {
            all[at] = Resource::WINDOWS;
        }
        all[at].name = ENDPOINTS[at].name;
        all[at].largest_page = Some(LARGEST_PAGE);
        all[at].late = ENDPOINTS[at].late.is_some();
        at += 1;
    }
    all
}

/// What SmartNow can be asked for.
pub const RESOURCES: &[Resource] = &resources();

/// The endpoint of that name.
pub(crate) fn find(name: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tillhouse_model::Reading;

    #[test]
    fn every_resource_has_a_name_of_its_own_and_every_parent_exists() {
        let names: BTreeSet<&str> = RESOURCES.iter().map(|resource| resource.name).collect();
        assert_eq!(names.len(), 30);
        for endpoint in &ENDPOINTS {
            assert!(endpoint.parent.is_none_or(|parent| names.contains(parent)), "{}", endpoint.name);
            assert!(!endpoint.path.contains('{') || endpoint.parent.is_some(), "{}", endpoint.name);
        }
    }

    #[test]
    fn facts_are_read_by_windows_and_all_else_whole() {
        let windows: Vec<&str> =
            RESOURCES.iter().filter(|r| r.reading == Reading::Windows).map(|resource| resource.name).collect();
        assert_eq!(
            windows,
            ["revenue_transactions", "payment_transactions", "logs", "voucher_logs", "integration_transactions"]
        );
        let late: Vec<&str> = RESOURCES.iter().filter(|r| r.late).map(|resource| resource.name).collect();
        assert_eq!(late, ["logs"]);
    }

    #[test]
    fn no_configuration_of_a_machine_is_asked_for() {
        assert!(ENDPOINTS.iter().all(|endpoint| !endpoint.path.contains("config")));
    }
}
