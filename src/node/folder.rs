//! The data folder: made where it is missing, marked with the format of what is in it, and locked against a second
//! instance.
//!
//! A folder in another format is somebody else's, be it an earlier version of ours, a later one, or a home directory.
//! Nothing is written to a folder before that is clear.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::log::files::make_folder;

/// All that the file `format` says.
const FORMAT: &str = "leveret 1";
const FORMAT_FILE: &str = "format";
/// The same before it has its name.
const NEW_FORMAT_FILE: &str = "format.new";
const LOCK_FILE: &str = "lock";
/// What may be in a new folder: what a start that was broken off has left, and what file systems put into theirs.
const NOTHING: [&str; 3] = [LOCK_FILE, NEW_FORMAT_FILE, "lost+found"];
/// Octets of an unknown format that are shown.
const SHOWN: u64 = 64;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot use the data folder {}: {source}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
    #[error("the data folder {} is in use by another instance", .0.display())]
    Locked(PathBuf),
    #[error(
        "the data folder {} has the format {found:?}, and this version of leveret understands only {FORMAT:?}; \
         it is left as it is",
        folder.display()
    )]
    Format { folder: PathBuf, found: String },
    #[error(
        "the folder {} is no data folder of leveret: it has no file {FORMAT_FILE:?}, but {entry:?}; \
         it is left as it is, name a new or an empty one",
        folder.display()
    )]
    Foreign { folder: PathBuf, entry: String },
}

/// A data folder that is ours as long as this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes a folder. The lock goes with the process, however it ends.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { folder: path.to_owned(), source };
        make_folder(path).map_err(failed)?;
        warn_of_readers(path).map_err(failed)?;
        is_marked(path)?;
        let mut lock = lock(path)?;
        // Another instance may have been faster, and done.
        if !is_marked(path)? {
            mark(path).map_err(failed)?;
        }
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What others may read is said, not changed: the folder may be somebody's mount.
fn warn_of_readers(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if for_everybody(mode) {
        let (path, mode) = (path.display(), mode & 0o777);
        tracing::warn!(
            "the data folder {path} has mode {mode:03o}: everybody on this machine may look into it; 750 or 700 is better"
        );
    }
    Ok(())
}

/// Whether those who are neither its owner nor of its group may enter a folder, and reach what is in it.
fn for_everybody(mode: u32) -> bool {
    mode & 0o001 != 0
}

/// Whether a folder has our format; if not, it is a new one.
fn is_marked(path: &Path) -> Result<bool, FolderError> {
    let folder = path.to_owned();
    // This comes first: where we are making a folder, nothing is in it before its format.
    let foreign = foreign_entry(path);
    match (read_format(path), foreign) {
        (Ok(Some(found)), _) if found == format!("{FORMAT}\n") => Ok(true),
        (Ok(Some(found)), _) => Err(FolderError::Format { folder, found: found.trim_end().to_owned() }),
        (Ok(None), Ok(None)) => Ok(false),
        (Ok(None), Ok(Some(entry))) => Err(FolderError::Foreign { folder, entry }),
        (Err(source), _) | (_, Err(source)) => Err(FolderError::Io { folder, source }),
    }
}

/// How a folder's format begins, if it has one.
fn read_format(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path.join(FORMAT_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut found = Vec::new();
    file.take(SHOWN).read_to_end(&mut found)?;
    Ok(Some(String::from_utf8_lossy(&found).into_owned()))
}

/// Something in a folder that is not to be in a new one.
fn foreign_entry(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != FORMAT_FILE && !NOTHING.iter().any(|known| name == *known) {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let failed = |source| FolderError::Io { folder: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let lock = options.open(path.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FolderError::Locked(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Writes the format, all of it or nothing even if power is lost.
fn mark(path: &Path) -> io::Result<()> {
    let new = path.join(NEW_FORMAT_FILE);
    let mut file = File::create(&new)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(new, path.join(FORMAT_FILE))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, not yet made, that goes with the test.
    struct Temp(PathBuf);

    impl Temp {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("leveret-folder-{}-{name}", std::process::id())))
        }

        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            let temp = Self::new(name);
            fs::create_dir_all(&temp.0).unwrap();
            files.iter().for_each(|(file, content)| fs::write(temp.0.join(file), content).unwrap());
            temp
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }

        fn entries(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_folder_gets_the_format_and_a_lock() {
        let temp = Temp::new("new");
        let folder = Folder::open(&temp.0.join("a/b")).unwrap();
        assert_eq!(folder.path(), temp.0.join("a/b"));
        assert_eq!(temp.read("a/b/format"), "leveret 1\n");
        assert_eq!(temp.read("a/b/lock"), format!("{}\n", std::process::id()));
        assert!(matches!(Folder::open(folder.path()), Err(FolderError::Locked(_))));
        drop(folder);
        Folder::open(&temp.0.join("a/b")).unwrap();
    }

    #[test]
    fn a_folder_with_a_lock_or_half_a_format_is_new() {
        let temp = Temp::with("lock", &[("lock", "123456\n"), ("format.new", "lever")]);
        fs::create_dir(temp.0.join("lost+found")).unwrap();
        Folder::open(&temp.0).unwrap();
        assert_eq!(temp.read("format"), "leveret 1\n");
        assert_eq!(temp.entries(), ["format", "lock", "lost+found"]);
    }

    #[test]
    fn a_folder_of_ours_may_have_anything_in_it() {
        let temp = Temp::with("ours", &[("format", "leveret 1\n"), ("anything", "")]);
        Folder::open(&temp.0).unwrap();
        assert_eq!(temp.entries(), ["anything", "format", "lock"]);
    }

    #[test]
    fn other_formats_are_refused() {
        let long = "x".repeat(1000);
        for found in
            ["leveret 2\n", "leveret 10\n", "leveret 1", "leveret 1\nmore\n", "", "\u{1b}[2J\n", &long]
        {
            let temp = Temp::with("format", &[("format", found), ("lock", "1\n")]);
            let error = Folder::open(&temp.0).unwrap_err();
            assert!(matches!(&error, FolderError::Format { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&temp.0.display().to_string()) && text.contains("\"leveret 1\""), "{text}");
            assert!(text.len() < 400 && !text.contains(['\n', '\u{1b}']), "{text}");
            assert_eq!((temp.read("format"), temp.read("lock")), (found.to_owned(), "1\n".to_owned()));
        }
        let temp = Temp::with("format-folder", &[]);
        fs::create_dir(temp.0.join("format")).unwrap();
        assert!(matches!(Folder::open(&temp.0), Err(FolderError::Io { .. })));
        assert_eq!(temp.entries(), ["format"]);
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        for entry in ["thesis.tex", ".bashrc", "formats", "a\nb"] {
            let temp = Temp::with("foreign", &[(entry, "")]);
            let text = Folder::open(&temp.0).unwrap_err().to_string();
            assert!(text.contains(&format!("{entry:?}")) && !text.contains('\n'), "{text}");
            assert_eq!(temp.entries(), [entry]);
        }
    }
}
