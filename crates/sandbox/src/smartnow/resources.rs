//! The thirty-one resources: what they are called here and there, where they are listed, and their columns.
//!
//! Invariant: a column that is not in this table does not exist for `where` and `sort`.

/// Type of a column, which decides how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SmartNowColumnType {
    Text,
    Number,
    Flag,
    /// A date-time, compared as an instant.
    Instant,
    /// An object or a list: it cannot be asked for.
    Object,
}

/// A resource whose id stands in the path of another's list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SmartNowParent {
    /// The parent's name here.
    pub of: &'static str,
    /// The field of a record that names its parent; none where the path alone does.
    pub by: Option<&'static str>,
}

/// A resource: its name, path, window column and columns.
#[derive(Debug)]
pub(crate) struct SmartNowResource {
    /// As Tillhouse calls it.
    pub name: &'static str,
    /// Its path; `*` stands for the parent's id.
    pub path: &'static str,
    pub parent: Option<SmartNowParent>,
    /// The column that windows are about; none: it is read whole.
    pub window: Option<&'static str>,
    /// True if records older than 90 days are in the archive only.
    pub archived: bool,
    /// The field that a mutation changes.
    pub mutated_field: &'static str,
    /// `name`, or `name:x` with x one of n(umber), b(oolean), i(nstant), o(bject).
    columns: &'static str,
}

impl SmartNowResource {
    /// The columns and what they hold, in the order of the document.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, SmartNowColumnType)> {
        self.columns
            .split_ascii_whitespace()
            .map(|column| match column.split_once(':') {
                None => (column, SmartNowColumnType::Text),
                Some((name, "n")) => (name, SmartNowColumnType::Number),
                Some((name, "b")) => (name, SmartNowColumnType::Flag),
                Some((name, "i")) => (name, SmartNowColumnType::Instant),
                Some((name, _)) => (name, SmartNowColumnType::Object),
            })
    }

    /// Type of a column; `None` where there is no such column.
    pub(crate) fn column(&self, name: &str) -> Option<(&'static str, SmartNowColumnType)> {
        self.columns().find(|(known, _)| *known == name)
    }

    /// True if the path names a parent.
    pub(crate) fn is_listed_by_parent(&self) -> bool {
        self.path.contains('*')
    }
}

const fn whole(
    name: &'static str,
    path: &'static str,
    stirred: &'static str,
    columns: &'static str,
) -> SmartNowResource {
    SmartNowResource {
        name,
        path,
        parent: None,
        window: None,
        archived: false,
        mutated_field: stirred,
        columns,
    }
}

const fn of(
    parent: &'static str,
    by: Option<&'static str>,
    kind: SmartNowResource,
) -> SmartNowResource {
    SmartNowResource {
        parent: Some(SmartNowParent { of: parent, by }),
        ..kind
    }
}

const fn windowed(
    window: &'static str,
    archived: bool,
    kind: SmartNowResource,
) -> SmartNowResource {
    SmartNowResource {
        window: Some(window),
        archived,
        ..kind
    }
}

/// All resources.
pub(crate) const RESOURCES: [SmartNowResource; 31] = [
    windowed(
        "updatedAt",
        true,
        whole(
            "revenue_transactions",
            "/revenuetransaction",
            "name",
            "id:n product:n name internalRef machine:n location:n occurredAt:i timeZone originalPrice:n price:n barcode currency \
             timestamp:n token salestype:n numPaymentTransactions:n remote:n pricelist:n usergroup:n createdAt:i updatedAt:i",
        ),
    ),
    windowed(
        "updatedAt",
        true,
        whole(
            "payment_transactions",
            "/paymenttransaction",
            "reportGroup",
            "id:n revenuetransaction:n machine:n location:n occurredAt:i timeZone method type price:n currency exclude:n \
             reportGroup createdAt:i updatedAt:i",
        ),
    ),
    windowed(
        "createdAt",
        true,
        whole(
            "logs",
            "/log",
            "resolvedAt",
            "id:n remote:n machine:n location:n code errorIdentity:n type:n isResolvable:b occurredAt:i timeZone duration:n \
             extraData date:n timestamp:n resolvedAt:i state createdAt:i",
        ),
    ),
    whole(
        "machines",
        "/machine",
        "tag",
        "id:n name hostname gateway:n location:n machineModel:n machineType:n manufacturer:n lastRevenuetransaction:n lastLog:n \
         lastIotevent:n tag notes virtualPrices:n active:n currency:n debtor:n logSynced:n revenuetransactionSynced:n \
         ioteventSynced:n ruleSet createdAt:i updatedAt:i lastSoldId:n isManagedAssortment:n configState transactionProfile:n \
         hasSubscription:n",
    ),
    whole(
        "machine_models",
        "/machinemodel",
        "name",
        "id:n name manufacturer:n machineType:n errorProfile:n image:n userGroup:n createdAt:i updatedAt:i",
    ),
    whole(
        "machine_types",
        "/machinetype",
        "name",
        "id:n name createdAt:i updatedAt:i",
    ),
    whole(
        "manufacturers",
        "/manufacturer",
        "name",
        "id:n name machineTypes:o createdAt:i updatedAt:i",
    ),
    whole(
        "machine_groups",
        "/machinegroup",
        "name",
        "id:n name machines:o createdAt:i updatedAt:i",
    ),
    whole(
        "locations",
        "/location",
        "address",
        "id:n name address postcode city country activeShift:n latitude longitude placeId timeZone createdAt:i updatedAt:i",
    ),
    whole(
        "location_groups",
        "/locationgroup",
        "name",
        "id:n name locations:o createdAt:i updatedAt:i",
    ),
    whole(
        "shifts",
        "/shift",
        "closed",
        "id:n location:n firstTransaction:n lastTransaction:n previousShift:n closed:i createdAt:i updatedAt:i",
    ),
    whole(
        "opening_hours",
        "/openinghours",
        "endTime",
        "id:n machine:n day:n startTime endTime createdAt:i updatedAt:i",
    ),
    of(
        "machines",
        Some("machine"),
        whole(
            "products",
            "/product/*",
            "reportName",
            "id:n plu:n name price:n barcode machine:n reportName createdAt:i updatedAt:i remotePrice:n type vatrate:n ledger \
             subledger",
        ),
    ),
    of(
        "machines",
        Some("machine"),
        whole(
            "product_extras",
            "/productextra/*",
            "reportName",
            "id:n plu:n name price barcode machine:n reportName createdAt:i updatedAt:i",
        ),
    ),
    of(
        "machines",
        Some("machine"),
        whole(
            "product_flavours",
            "/productflavour/*",
            "reportName",
            "id:n plu:n name price barcode machine:n reportName createdAt:i updatedAt:i",
        ),
    ),
    whole(
        "error_profiles",
        "/errorprofile",
        "name",
        "id:n name machineType:n manufacturer:n createdAt:i updatedAt:i",
    ),
    whole(
        "error_identities",
        "/erroridentity",
        "error",
        "id:n machineType:n error createdAt:i updatedAt:i",
    ),
    whole(
        "error_codes",
        "/errorcode",
        "code",
        "id:n errorIdentity:n errorProfile:n code createdAt:i updatedAt:i",
    ),
    whole(
        "transaction_profiles",
        "/transactionprofile",
        "reportRule",
        "id:n reportRule paymentTypesMap:o createdAt:i updatedAt:i",
    ),
    whole(
        "languages",
        "/language",
        "name",
        "id:n name language locale createdAt:i updatedAt:i",
    ),
    whole(
        "users",
        "/user",
        "username",
        "id:n username email language:n userGroup:n createdAt:i updatedAt:i emailConfirmed:n disabledAt:i password_expires:i",
    ),
    whole(
        "user_groups",
        "/usergroup",
        "name",
        "id:n name parent:n admin:n createdAt:i updatedAt:i disabledAt:i deleted:b",
    ),
    whole(
        "alert_observers",
        "/alertobserver",
        "name",
        "id:n name error:n observer occurs:n timer:n timerType:n alertGroup:n sentAt:i type paymentMethod openingHours:n \
         userGroup:n createdAt:i updatedAt:i",
    ),
    whole(
        "alert_groups",
        "/alertgroup",
        "name",
        "id:n name userGroup:n createdAt:i updatedAt:i",
    ),
    whole(
        "alert_recipients",
        "/alertrecipient",
        "name",
        "id:n name email alertGroup:n language:n active:n userGroup:n createdAt:i updatedAt:i",
    ),
    whole(
        "campaigns",
        "/campaign",
        "name",
        "id:n name totalVouchers:n type valueType voucherValue:n redemptionLimit:n resetFrequency expiresOn:i currency timeZone \
         status createdAt:i updatedAt:i prefix ownerId:n ownerData voucherText1 voucherText2 voucherText3 voucherText4 \
         voucherStyle campaignstats:n lastResetAt:i vouchersPdfStatus vouchersPdfUrl voucherLogoImg:n",
    ),
    of(
        "campaigns",
        Some("campaign"),
        whole(
            "vouchers",
            "/voucher",
            "text4",
            "id code campaign:n type value:n valueType currency initialValue:n redemptionLimit:n redemptionCount:n \
             totalRedemptionCount:n lastRedemptionAt:i lastRedemptionLocation prefix resetFrequency lastResetAt:i expiresOn:i \
             timeZone lockOwner lockedTill:i status amountRedeemed:n totalAmountRedeemed:n createdAt:i updatedAt:i balance:n \
             text1 text2 text3 text4 logoImg pdfStatus style pdfUrl voucherComments",
        ),
    ),
    of(
        "vouchers",
        Some("voucher"),
        windowed(
            "updatedAt",
            false,
            whole(
                "voucher_logs",
                "/voucher/*/logs",
                "requester",
                "id:n voucher requester requesterLocation action success:n request response currency createdAt:i updatedAt:i",
            ),
        ),
    ),
    whole(
        "integrations",
        "/integration",
        "name",
        "id:n type name active:b state throttle:n maxRetries:n retryThrottle:n stopOnFailure:b createdAt:i updatedAt:i",
    ),
    of(
        "integrations",
        None,
        windowed(
            "updatedAt",
            false,
            whole(
                "integration_records",
                "/integration/*/records",
                "details",
                "id:n state machine:n revenuetransaction:n message details createdAt:i updatedAt:i",
            ),
        ),
    ),
    of(
        "integrations",
        None,
        windowed(
            "updatedAt",
            false,
            whole(
                "integration_transactions",
                "/integration/*/transactions",
                "name",
                "id:n remote:n price:n occurredAt:i machine:n location:n timestamp:n currency timezone name token salestype:n \
                 createdAt:i updatedAt:i",
            ),
        ),
    ),
];

/// The number of a resource in [`RESOURCES`].
pub(crate) fn resource_index(name: &str) -> Option<usize> {
    RESOURCES.iter().position(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_paths_and_columns_are_distinct_and_parents_exist() {
        let distinct =
            |words: Vec<&str>| words.iter().collect::<BTreeSet<_>>().len() == words.len();
        assert!(distinct(RESOURCES.iter().map(|kind| kind.name).collect()));
        assert!(distinct(RESOURCES.iter().map(|kind| kind.path).collect()));
        for kind in &RESOURCES {
            assert!(
                distinct(kind.columns().map(|(name, _)| name).collect()),
                "{}",
                kind.name
            );
            assert!(
                kind.column("id").is_some() && kind.column("createdAt").is_some(),
                "{}",
                kind.name
            );
            for named in [
                Some(kind.mutated_field),
                kind.window,
                kind.parent.and_then(|parent| parent.by),
            ]
            .into_iter()
            .flatten()
            {
                assert!(kind.column(named).is_some(), "{} of {}", named, kind.name);
            }
            assert!(
                kind.parent
                    .is_none_or(|parent| resource_index(parent.of).is_some())
            );
        }
    }
}
