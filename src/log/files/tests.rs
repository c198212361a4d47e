//! Devices stand in for disks that fail: `/dev/null` takes writes and cannot be synced, `/dev/full` takes none. A
//! handle of the folder that is a mere path cannot be synced either.

use std::os::unix::fs::{OpenOptionsExt as _, symlink};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::handles::HANDLES_MAX;
use super::*;
use crate::log::disk::{Kind, LogId};

/// A folder of its own that goes with the test.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-files-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Files {
        Files::open(&self.0).unwrap()
    }

    /// With or without a sync of all, whatever this machine can do.
    fn files_with(&self, syncs_whole: bool) -> Files {
        Files::with(&self.0, File::open(&self.0).unwrap(), syncs_whole)
    }

    /// Where a sync of all fails.
    fn files_without_whole(&self) -> Files {
        let flags = OFlags::PATH.bits() as i32;
        let folder = OpenOptions::new().read(true).custom_flags(flags).open(&self.0).unwrap();
        assert!(rustix::fs::syncfs(&folder).is_err());
        Files::with(&self.0, folder, true)
    }

    fn link(&self, name: FileName, device: &str) {
        symlink(device, self.0.join(name.to_string())).unwrap();
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn file(log: u64) -> FileName {
    FileName { log: LogId(log), first: 0, kind: Kind::Records }
}

fn is(result: io::Result<()>, errno: Errno) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn open_count(files: &Files) -> usize {
    files.handles.lock().count()
}

#[test]
fn what_was_written_is_read() {
    let temp = Temp::new("read");
    let files = temp.files();
    let mut buffer = [7; 8];
    assert_eq!(files.read(file(1), 0, &mut buffer).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(files.size(file(1)).is_err() && files.truncate(file(1), 0).is_err());
    files.write(file(1), 2, b"abc").unwrap();
    assert_eq!(files.size(file(1)).unwrap(), 5);
    assert_eq!(files.read(file(1), 1, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"\0abc\x07\x07\x07\x07");
    assert_eq!(files.read(file(1), 5, &mut buffer).unwrap(), 0);
    files.truncate(file(1), 3).unwrap();
    files.write(file(1), 4, b"d").unwrap();
    assert_eq!(files.read(file(1), 0, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"\0\0a\0d");
    files.sync(&[file(1)], true).unwrap();
    assert!(files.free().unwrap() > 0);
}

#[test]
fn only_files_of_ours_are_listed() {
    let temp = Temp::new("list");
    let files = temp.files();
    for name in ["1-0.log", "x", "01-0000000000000000.log", "+1-0000000000000000.log"] {
        fs::write(temp.0.join(name), "").unwrap();
    }
    fs::create_dir(temp.0.join(file(9).to_string())).unwrap();
    assert_eq!(files.list().unwrap(), []);
    let spill = FileName { kind: Kind::Spill, ..file(2) };
    files.write(file(1), 0, b"a").unwrap();
    files.write(spill, 0, b"a").unwrap();
    let mut found = files.list().unwrap();
    found.sort();
    assert_eq!(found, [file(1), spill]);
    files.remove(file(1)).unwrap();
    files.remove(file(1)).unwrap();
    assert_eq!(files.list().unwrap(), [spill]);
    drop(files);
    assert_eq!(temp.files().list().unwrap(), [spill]);
}

#[test]
fn a_removed_file_is_another_one_when_it_is_made_again() {
    let temp = Temp::new("again");
    let files = temp.files();
    files.write(file(1), 0, b"first").unwrap();
    files.remove(file(1)).unwrap();
    assert_eq!(open_count(&files), 0);
    assert!(files.sync(&[file(1)], false).is_err());
    files.write(file(1), 1, b"x").unwrap();
    assert_eq!(fs::read(temp.0.join(file(1).to_string())).unwrap(), b"\0x");
}

#[test]
fn a_file_opened_before_a_removal_is_opened_again() {
    let temp = Temp::new("race");
    let mut handles = Handles::new(true);
    let before = handles.removals();
    handles.removed(file(1));
    let opened = || File::create(temp.0.join("x")).unwrap();
    assert!(handles.put(file(1), opened(), Use::Reading, before).is_none());
    let now = handles.removals();
    let first = handles.put(file(1), opened(), Use::Reading, now).unwrap();
    let second = handles.put(file(1), opened(), Use::Reading, now).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the faster one's");
}

#[test]
fn handles_are_bounded_and_closed_when_idle() {
    for syncs_whole in [true, false] {
        let temp = Temp::new(&format!("bound-{syncs_whole}"));
        let files = temp.files_with(syncs_whole);
        let all: Vec<_> = (0..200).map(file).collect();
        for name in &all {
            files.write(*name, 0, &name.log.0.to_be_bytes()).unwrap();
            assert!(open_count(&files) <= HANDLES_MAX);
        }
        for name in &all {
            let mut buffer = [0; 8];
            assert_eq!(files.read(*name, 0, &mut buffer).unwrap(), 8);
            assert_eq!(buffer, name.log.0.to_be_bytes());
            assert!(open_count(&files) <= HANDLES_MAX);
        }
        files.sync(&all, true).unwrap();
        assert!(!files.handles.lock().hides(&all), "all are synced");
        files.close_idle();
        files.read(file(3), 0, &mut [0]).unwrap();
        files.close_idle();
        assert_eq!(open_count(&files), 1, "the one used in between");
        files.close_idle();
        assert_eq!(open_count(&files), 0);
    }
}

#[test]
fn unsynced_files_stay_open() {
    let temp = Temp::new("unsynced");
    let files = temp.files();
    (0..100).for_each(|log| files.write(file(log), 0, b"a").unwrap());
    files.sync(&(0..100).map(file).collect::<Vec<_>>(), false).unwrap();
    files.write(file(1), 0, b"b").unwrap();
    let spill = FileName { kind: Kind::Spill, ..file(1) };
    files.write(spill, 0, b"b").unwrap();
    (0..100).for_each(|log| assert_eq!(files.read(file(log), 0, &mut [0]).unwrap(), 1));
    files.close_idle();
    files.close_idle();
    assert_eq!(open_count(&files), 1, "neither read since nor to be synced");
    files.sync(&[file(1)], false).unwrap();
    files.close_idle();
    files.close_idle();
    assert_eq!(open_count(&files), 0);
}

#[test]
fn a_sync_of_all_that_fails_asks_the_files_themselves() {
    let temp = Temp::new("ask");
    let files = temp.files_without_whole();
    let few: Vec<_> = (0..10).map(file).collect();
    few.iter().for_each(|name| files.write(*name, 0, b"a").unwrap());
    files.sync(&few, false).unwrap();
    files.close_idle();
    files.close_idle();
    assert_eq!(open_count(&files), 0, "all synced");
    temp.link(file(10), "/dev/null");
    files.write(file(10), 0, b"a").unwrap();
    few.iter().for_each(|name| files.write(*name, 0, b"a").unwrap());
    files.sync(&few, false).unwrap();
    let with_bad = [&few[..], &[file(10)]].concat();
    assert!(is(files.sync(&with_bad, false), Errno::INVAL), "that one knows");
    assert!(is(files.sync(&few, true), Errno::BADF), "and so does the folder");
}

#[test]
fn what_went_out_of_sight_fails_with_the_sync_of_all() {
    let temp = Temp::new("hidden");
    let files = temp.files_without_whole();
    let all: Vec<_> = (0..100).map(file).collect();
    all.iter().for_each(|name| files.write(*name, 0, b"a").unwrap());
    let (old, new) = all.split_at(50);
    let hidden: Vec<_> = all.iter().filter(|name| files.handles.lock().hides(&[**name])).copied().collect();
    assert!(hidden.len() == 100 - HANDLES_MAX && old.starts_with(&hidden), "{hidden:?}");
    files.sync(new, false).unwrap();
    assert!(is(files.sync(&hidden[..1], false), Errno::BADF), "owed since that sync");
    files.sync(&hidden[..1], false).unwrap();
    assert!(is(files.sync(&hidden, false), Errno::BADF), "owed to the others");
    files.write(hidden[0], 0, b"a").unwrap();
    all.iter().for_each(|name| files.write(*name, 0, b"a").unwrap());
    assert!(is(files.sync(&hidden[..1], false), Errno::BADF), "even to one alone");
    files.remove(hidden[1]).unwrap();
    files.write(hidden[1], 0, b"a").unwrap();
    files.sync(&hidden[1..2], false).unwrap();
}

#[test]
fn what_is_synced_to_make_place_owes_its_error() {
    let temp = Temp::new("owed");
    let files = temp.files_with(false);
    temp.link(file(0), "/dev/null");
    (0..HANDLES_MAX as u64 + 1).for_each(|log| files.write(file(log), 0, b"a").unwrap());
    assert!(files.handles.lock().get(file(0), Use::Reading).is_none(), "closed");
    files.sync(&[file(1), file(2)], false).unwrap();
    assert!(is(files.sync(&[file(1), file(0)], false), Errno::INVAL));
}

#[test]
fn errors_of_writing_and_syncing_come_out() {
    let temp = Temp::new("errors");
    let files = temp.files();
    temp.link(file(1), "/dev/full");
    let error = files.write(file(1), 0, b"a").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    temp.link(file(2), "/dev/null");
    files.write(file(2), 0, b"a").unwrap();
    assert!(is(files.sync(&[file(2)], false), Errno::INVAL));
    assert!(Files::open(&temp.0.join(file(1).to_string()).join("below")).is_err());
}

#[test]
fn too_many_open_files_are_told_from_other_trouble() {
    assert!(is_out_of_handles(&io::Error::from_raw_os_error(24)));
    assert!(is_out_of_handles(&io::Error::from_raw_os_error(23)));
    assert!(!is_out_of_handles(&io::Error::from_raw_os_error(5)));
    assert!(!is_out_of_handles(&io::ErrorKind::StorageFull.into()));
}

#[test]
fn threads_share_the_files() {
    let temp = Temp::new("threads");
    let files = temp.files();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=20u64 {
                (0..100).for_each(|log| files.write(file(log), 0, &round.to_be_bytes()).unwrap());
                files.sync(&(0..100).map(file).collect::<Vec<_>>(), false).unwrap();
                files.remove(file(round)).unwrap();
                files.close_idle();
            }
        });
        scope.spawn(|| {
            let mut last = 0;
            while last < 20 {
                let mut buffer = [0; 8];
                (30..100).for_each(|log| drop(files.read(file(log), 0, &mut buffer)));
                let Ok(8) = files.read(file(99), 0, &mut buffer) else { continue };
                let round = u64::from_be_bytes(buffer);
                assert!((last..=20).contains(&round));
                last = round;
            }
        });
    });
    assert!(open_count(&files) <= HANDLES_MAX);
}

#[test]
fn folders_are_made_with_what_is_above_them() {
    let temp = Temp::new("made");
    let path = temp.0.join("a/b/c");
    make_folder(&path).unwrap();
    make_folder(&path).unwrap();
    assert!(path.is_dir());
    fs::write(path.join("file"), "").unwrap();
    assert!(make_folder(&path.join("file")).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn kernels_say_their_version() {
    assert_eq!(whole::version("6.18.44-fc-v657"), Some((6, 18)));
    assert_eq!(whole::version("5.8-rc1"), Some((5, 8)));
    assert_eq!(whole::version("odd"), None);
    // Not on the list.
    assert!(!whole::is_reliable(&File::open("/proc").unwrap()));
}
