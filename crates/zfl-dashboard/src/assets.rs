//! The page, as `dashboard/` builds it. The built files are in the repository, so that
//! a build of zfl needs no Node; `scripts/check-dashboard` builds them again and compares.

/// A file of the page.
pub(crate) struct Asset {
    /// Where it is.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

/// All of them; the first is the page itself.
pub(crate) const ASSETS: [Asset; 4] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        bytes: include_bytes!("../assets/index.html"),
    },
    Asset {
        path: "/app.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../assets/app.js"),
    },
    Asset {
        path: "/app.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../assets/app.css"),
    },
    Asset {
        path: "/licenses.txt",
        content_type: "text/plain; charset=utf-8",
        bytes: include_bytes!("../assets/licenses.txt"),
    },
];

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// The issue asks for 150 kB at most.
    #[test]
    fn the_script_is_small() {
        let mut gzip = Command::new("gzip")
            .args(["-9", "-c"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = gzip.stdin.take().unwrap();
        let script = ASSETS.iter().find(|asset| asset.path == "/app.js").unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(script.bytes).unwrap());
        let packed = gzip.wait_with_output().unwrap().stdout.len();
        writer.join().unwrap();
        assert!((1_000..=150_000).contains(&packed), "{packed} bytes gzip");
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        for part in page.split('"') {
            assert!(!part.contains("//"), "{part}");
        }
        // What the policy in `http.rs` would not let run.
        assert!(!page.contains("<style") && !page.contains("<script>"));
    }
}
