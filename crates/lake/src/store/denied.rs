//! Files that the system does not let this user read, told from those that are damaged.
//!
//! Invariant: nothing is moved away, deleted or made anew, and nobody is told to, because a permission is missing.

/// The way out where a file or a folder of the warehouse may not be read.
pub const LET_READ: &str = "It may be whole: move and delete nothing. Let the user who runs Tillhouse read the warehouse, its folders and the files in them \
     (chmod, chown), or run as the user who writes it.";

/// True if an error's text says that a file may not be read. Libraries put a text of their own around the system's error, which is all that comes through.
pub fn is_denied(text: &str) -> bool {
    // Linux and the BSDs number alike: EACCES, EPERM.
    const SIGNS: [&str; 3] = ["(os error 13)", "(os error 1)", "PermissionDenied"];
    SIGNS.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_told_from_what_is_damaged() {
        let of_system = std::io::Error::from_raw_os_error(13).to_string();
        for denied in [
            format!(
                "Parquet error: External: Generic LocalFileSystem error: Unable to open file /w/x.parquet: {of_system}"
            ),
            format!(
                "Generic LocalFileSystem error: Unable to walk dir: IO error for operation on /w: {of_system}"
            ),
            "Os { code: 13, kind: PermissionDenied, message: \"...\" }".to_owned(),
            std::io::Error::from_raw_os_error(1).to_string(),
        ] {
            assert!(is_denied(&denied), "{denied}");
        }
        for other in [
            "Parquet error: Invalid Parquet file. Corrupt footer",
            "No such file or directory (os error 2)",
            "Input/output error (os error 5)",
            "Is a directory (os error 21)",
            "No space left on device (os error 28)",
        ] {
            assert!(!is_denied(other), "{other}");
        }
    }
}
