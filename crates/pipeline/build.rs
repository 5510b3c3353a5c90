//! Tells cargo that the built-in contracts and SQL are part of this crate, so that a changed file rebuilds it.

fn main() {
    let out = std::io::stdout();
    let mut lines = out.lock();
    for folder in ["../../pipelines", "../../schemas"] {
        let _ = std::io::Write::write_fmt(
            &mut lines,
            format_args!("cargo:rerun-if-changed={folder}\n"),
        );
    }
}
