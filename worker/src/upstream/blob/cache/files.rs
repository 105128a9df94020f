//! Files and directories of the cache, opened so that no other user of the host
//! can put something else in their place.
//!
//! No symbolic link is followed, nothing but a regular file is opened, and a
//! directory that others can write is refused. Everything here blocks.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// Nobody but the workers' own user may read what may be private.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// What a directory may not allow: to be written by its group or by others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The file at `path`, to read. None: there is none.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    match open_with(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// The file at `path`, to read and to write. Made if there is none.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    open_with(&mut options, path)
}

/// A new file at `path`, to read and to write.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create_new(true).read(true).write(true);
    open_with(&mut options, path)
}

/// A pipe is not waited for, and turned down like all that is no file.
fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = options.mode(FILE_MODE).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let what = format!("{} is not a regular file: remove it", path.display());
    Err(io::Error::new(ErrorKind::InvalidInput, what))
}

/// Makes a directory, if it is not there.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIRECTORY_MODE).create(path)?;
    check_directory(path)
}

/// Fails for what is there and is no directory that only its owner can write.
pub(super) fn check_directory(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    let place = path.display();
    let fault = if metadata.is_symlink() {
        format!("{place} is a symbolic link, which is not followed: name the directory itself")
    } else if !metadata.is_dir() {
        format!("{place} is not a directory: name another one, or remove it")
    } else if metadata.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
        format!(
            "{place} can be written by users other than its owner: run `chmod go-w {place}`, \
             or name a directory below it that does not exist yet"
        )
    } else {
        return Ok(());
    };
    Err(io::Error::new(ErrorKind::InvalidInput, fault))
}
