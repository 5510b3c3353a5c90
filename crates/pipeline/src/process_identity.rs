//! Identity of this process, and whether the process that holds a lease is still there.
//!
//! Invariant: a process is called gone only where that is certain: it ran on this very boot of this machine, among the same process numbers,
//! and no process with its number started when it did. Everything else is unknown, and time decides.
//!
//! Containers on one host may share its name and number their processes alike, so neither says whose process it is; the boot and the
//! namespace of process numbers do. Both are Linux's; elsewhere nothing is certain.

use std::sync::OnceLock;
use tillhouse_lake::LeaseOwner;

/// Fate of a lease's owner, as far as this machine can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerFate {
    /// Its process has ended.
    Gone,
    /// Its process is there, and goes by the same clock.
    Here,
    /// It runs, or ran, elsewhere.
    Unknown,
}

/// Place among whose processes a number names one: boot and namespace, and when this process started.
struct ProcessIdentity {
    host: String,
    /// `boot/namespace`; `None` where the system does not say.
    place: Option<String>,
    started: Option<String>,
}

fn identity() -> &'static ProcessIdentity {
    static IDENTITY: OnceLock<ProcessIdentity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let line = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let host = line("/proc/sys/kernel/hostname")
            .or_else(|| std::env::var("HOSTNAME").ok())
            .or_else(|| std::env::var("COMPUTERNAME").ok());
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
        let place = line("/proc/sys/kernel/random/boot_id")
            .zip(namespace)
            .map(|(boot, namespace)| format!("{boot}/{}", namespace.display()));
        ProcessIdentity {
            host: host.unwrap_or_else(|| "unknown".to_owned()),
            place,
            started: start_of(std::process::id()),
        }
    })
}

/// This process as the owner of a lease.
pub(crate) fn owner(run_id: &str, command: &str) -> LeaseOwner {
    let ProcessIdentity {
        host,
        place,
        started,
    } = identity();
    LeaseOwner {
        host: host.clone(),
        pid: std::process::id(),
        process: place
            .as_ref()
            .zip(started.as_ref())
            .map(|(place, started)| format!("{place}/{started}")),
        run_id: run_id.to_owned(),
        command: command.to_owned(),
    }
}

/// Fate of an owner; `holds` says whether this process itself holds a lease for a run.
pub(crate) fn fate(owner: &LeaseOwner, holds: impl Fn(&str) -> bool) -> OwnerFate {
    let written = owner.process.as_deref().and_then(|p| p.rsplit_once('/'));
    let (Some((place, started)), Some(here)) = (written, identity().place.as_deref()) else {
        return OwnerFate::Unknown;
    };
    if place != here {
        return OwnerFate::Unknown;
    }
    let is_there = start_of(owner.pid).is_some_and(|found| found == started);
    let is_own = owner.pid == std::process::id();
    if !is_there || (is_own && !holds(&owner.run_id)) {
        OwnerFate::Gone
    } else {
        OwnerFate::Here
    }
}

/// When the process of a number started, in the kernel's ticks; `None` where there is none, or it has ended and nobody has asked how.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, behind) = stat.rsplit_once(") ")?;
    let mut fields = behind.split(' ');
    let state = fields.next()?;
    // State is the third field of all, the start the twenty-second.
    let started = fields.nth(18)?;
    (!matches!(state, "Z" | "X" | "x")).then(|| started.to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_only_where_that_is_certain() {
        let own = owner("run", "sync");
        assert!(own.process.is_some() && own.host != "unknown");
        assert_eq!(fate(&own, |run| run == "run"), OwnerFate::Here);
        // This process holds no lease for that run: an earlier one of the same number did, or a task of it that is no more.
        assert_eq!(fate(&own, |_| false), OwnerFate::Gone);
        let (place, started) = own.process.as_deref().unwrap().rsplit_once('/').unwrap();
        let with = |pid: u32, process: Option<String>| LeaseOwner {
            pid,
            process,
            ..own.clone()
        };
        let another_start = Some(format!("{place}/{started}9"));
        assert_eq!(
            fate(&with(own.pid, another_start), |_| true),
            OwnerFate::Gone
        );
        let nobody = with(u32::MAX, own.process.clone());
        assert_eq!(fate(&nobody, |_| true), OwnerFate::Gone);
        // Another boot, another container, a program that did not say.
        for process in [
            Some(format!("elsewhere/{started}")),
            Some(String::new()),
            None,
        ] {
            assert_eq!(fate(&with(u32::MAX, process), |_| true), OwnerFate::Unknown);
        }
    }

    #[test]
    fn a_process_that_has_ended_and_was_not_waited_for_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        while start_of(pid).is_some() {
            std::thread::yield_now();
        }
        let zombie = LeaseOwner {
            pid,
            ..owner("run", "sync")
        };
        assert_eq!(fate(&zombie, |_| true), OwnerFate::Gone);
        child.wait().unwrap();
    }
}
