//! Listeners for engines: loopback ports and a unix socket.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::{debug, warn};

/// A listener for engines.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// An engine's connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A unix socket with a list of allowed users, by the user id from the kernel
/// (`SO_PEERCRED`).
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    allowed: Vec<u32>,
}

impl Listener {
    /// Binds a port.
    pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: give another address with --listen")
        })?;
        Ok(Self::Tcp(listener))
    }

    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A failure only delays responses.
                stream.set_nodelay(true).ok();
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(socket) => socket.accept().await.map(Stream::Unix),
        }
    }

    /// The bound address of a TCP listener.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl UnixSocket {
    /// Binds `path`, and replaces a stale socket. An empty `allowed` permits
    /// root and the socket's owner.
    pub(super) fn bind(path: &Path, allowed: &[u32]) -> anyhow::Result<Self> {
        let shown = path.display();
        remove_stale(path).with_context(|| format!("cannot take {shown}"))?;
        let listener = UnixListener::bind(path);
        let listener = listener.with_context(|| format!("cannot listen on {shown}"))?;
        let owner = fs::metadata(path)?.uid();
        let (allowed, mode) = match allowed {
            [] => (vec![0, owner], 0o600),
            listed => (listed.to_vec(), 0o666),
        };
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot open {shown} to its users"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            allowed,
        })
    }

    /// Accepts the next connection of an allowed user.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            if self.allowed.contains(&uid) {
                return Ok(stream);
            }
            warn!(uid, "refused a connection of user {uid}: see --allow-uid");
        }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, "cannot remove the socket");
        }
    }
}

/// Removes a socket without a listener.
fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::other("there is a file that is no socket"));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::other("another process listens on it")),
        Err(_) => fs::remove_file(path),
    }
}
