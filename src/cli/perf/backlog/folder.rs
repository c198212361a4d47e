//! How much disk space a data folder takes.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use super::super::error::PerfError;

/// Bytes in a block of `st_blocks`, whatever blocks the file system has.
const BLOCK: u64 = 512;

/// Disk space that everything below `folder` takes, in bytes: holes in files take none, and space
/// that is only set aside does.
///
/// # Errors
///
/// [`PerfError::Folder`] when it cannot be read.
pub fn disk_space(folder: &Path) -> Result<u64, PerfError> {
    let failed = |source| PerfError::Folder { path: folder.to_owned(), source };
    let own = fs::metadata(folder).map_err(failed)?;
    let mut space = own.blocks() * BLOCK;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Some(entries) = if_there(fs::read_dir(next)).map_err(failed)? else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // Links are not followed: what they lead to belongs to someone else.
            if let Some(entry_is) = if_there(entry.metadata()).map_err(failed)? {
                space += entry_is.blocks() * BLOCK;
                if entry_is.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }
    Ok(space)
}

/// `None` for what has gone meanwhile: a broker at work deletes files.
fn if_there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_folders_count_and_holes_do_not() {
        let folder = std::env::temp_dir().join(format!("leveret-perf-folder-{}", std::process::id()));
        let below = folder.join("a/b");
        fs::create_dir_all(&below).unwrap();
        let empty = disk_space(&folder).unwrap();
        fs::write(below.join("file"), vec![7; 100_000]).unwrap();
        let hole = fs::File::create(folder.join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/proc", folder.join("link")).unwrap();
        hole.sync_all().unwrap();
        fs::File::open(below.join("file")).unwrap().sync_all().unwrap();
        let full = disk_space(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!((100_000..1 << 20).contains(&(full - empty)), "{empty} {full}");
        assert!(disk_space(&folder).is_err());
    }
}
