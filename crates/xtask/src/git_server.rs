//! A repository over HTTP on loopback, through git's own `http-backend`.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};

use crate::command::Cmd;
use crate::http::Message;

/// Serves the repositories of a folder until it is dropped.
#[derive(Debug)]
pub(crate) struct GitServer {
    /// Where it listens.
    pub(crate) port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    /// Serves `folder/NAME.git` as `http://127.0.0.1:PORT/NAME.git`.
    pub(crate) fn start(folder: &Path, port: u16) -> Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port}"))?;
        let port = listener.local_addr()?.port();
        let over = Arc::new(AtomicBool::new(false));
        let (folder, ends) = (folder.to_owned(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let folder = folder.clone();
                // A clone asks twice, one after the other; a thread for each keeps two clones from waiting for each other.
                std::thread::spawn(move || {
                    if let Err(e) = stream.map_err(Into::into).and_then(|s| serve(s, &folder)) {
                        eprintln!("git server: {e:#}");
                    }
                });
            }
        });
        Ok(Self {
            port,
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, folder: &Path) -> Result<()> {
    let Some(request) = Message::read(&mut stream, false)? else {
        return Ok(());
    };
    let mut words = request.first.split(' ');
    let (method, target) = (words.next().unwrap_or("GET"), words.next().unwrap_or("/"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Cmd::new("git")
        // The folder is ours, whoever runs this.
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env(
            "CONTENT_TYPE",
            request.header("content-type").unwrap_or_default(),
        )
        .env(
            "HTTP_CONTENT_ENCODING",
            request.header("content-encoding").unwrap_or_default(),
        )
        .env(
            "GIT_PROTOCOL",
            request.header("git-protocol").unwrap_or_default(),
        )
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .spawn(|c| {
            c.stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
    // What asks is small: it fits the pipe or is read before anything is answered.
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(&request.body)?;
    let out = child.wait_with_output()?.stdout;
    let end = out
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .context("git http-backend gave no headers")?;
    let (head, body) = (String::from_utf8_lossy(&out[..end]), &out[end + 4..]);
    let status = head
        .lines()
        .find_map(|l| l.strip_prefix("Status: "))
        .unwrap_or("200 OK");
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for line in head.lines().filter(|l| !l.starts_with("Status: ")) {
        answer += line;
        answer += "\r\n";
    }
    stream.write_all(answer.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)?;
    Ok(())
}

/// Makes `folder/NAME.git` of a directory's files: one commit on `main`, the same whoever makes it.
pub(crate) fn repository_of(files: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    ensure!(files.is_dir(), "{} is not a directory", files.display());
    let bare = folder.join(format!("{name}.git"));
    let git = |args: &[&str]| {
        Cmd::new("git")
            .args([
                "-c",
                "safe.directory=*",
                "-c",
                "init.defaultBranch=main",
                "-c",
                "commit.gpgSign=false",
            ])
            .args(args)
            .env("GIT_DIR", &bare)
            .env("GIT_WORK_TREE", files)
            .env("GIT_AUTHOR_NAME", "Stepyard")
            .env("GIT_AUTHOR_EMAIL", "examples@stepyard.invalid")
            .env("GIT_COMMITTER_NAME", "Stepyard")
            .env("GIT_COMMITTER_EMAIL", "examples@stepyard.invalid")
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .output()
    };
    Cmd::new("git")
        .args(["-c", "init.defaultBranch=main", "init", "-q", "--bare"])
        .arg(&bare)
        .output()?;
    git(&["config", "core.bare", "false"])?;
    git(&["add", "--all", "."])?;
    git(&["commit", "-q", "-m", "The example"])?;
    git(&["config", "core.bare", "true"])?;
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_cloned_over_http_also_without_its_history() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let files = dir.path().join("files");
        std::fs::create_dir(&files)?;
        std::fs::write(files.join("hello.txt"), "hi\n")?;
        let folder = dir.path().join("served");
        std::fs::create_dir(&folder)?;
        repository_of(&files, &folder, "hello")?;
        let server = GitServer::start(&folder, 0)?;
        for depth in [vec![], vec!["--depth=1"]] {
            let to = dir.path().join(format!("clone{}", depth.len()));
            let url = format!("http://127.0.0.1:{}/hello.git", server.port);
            Cmd::new("git")
                .args(["clone", "-q"])
                .args(&depth)
                .arg(url)
                .arg(&to)
                .output()?;
            assert_eq!(std::fs::read_to_string(to.join("hello.txt"))?, "hi\n");
        }
        Ok(())
    }
}
