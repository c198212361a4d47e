//! A file that lines go to, which is put aside when it is large or when it is time: `x.log` becomes `x.log.0`, that `x.log.1`,
//! and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::record::date;
use crate::config::values::{self, Allowed};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// When a file is put aside, and what becomes of it: `log.file.rotation.*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Octets after which it is; none if 0.
    pub size: u64,
    /// Files put aside that stay.
    pub count: usize,
    pub date: Option<Period>,
    /// What is put aside is compressed: `x.log.0.gz`.
    pub compress: bool,
}

impl Rotation {
    pub(super) fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["size"] => self.size = values::between(value, 0, i64::MAX)?,
            ["count"] => self.count = values::between(value, 0, 10_000)?,
            ["date"] => self.date = Period::parse(value)?,
            ["compress"] => self.compress = values::boolean(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A moment that comes again and again, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// At this minute of every hour.
    Hour(u64),
    /// At this hour of every day, of one day of the week (0 is Sunday), or of one day of the month.
    Day(u64),
    Week(u64, u64),
    Month(u64, u64),
}

impl Period {
    /// As RabbitMQ writes them: `$H30`, `$D23`, `$W0D23`, `$M1D0`; nothing is none.
    fn parse(text: &str) -> Result<Option<Self>, Allowed> {
        let period = match text.strip_prefix('$') {
            None if text.is_empty() => return Ok(None),
            None => None,
            Some(rest) => Self::parse_bare(rest),
        };
        period.map(Some).ok_or_else(|| "a period such as $D0, $W0D23, $M1D0 or $H30".to_owned())
    }

    fn parse_bare(text: &str) -> Option<Self> {
        let number = |text: &str, max: u64| text.parse().ok().filter(|number| *number <= max);
        let (kind, rest) = text.split_at_checked(1)?;
        let (day, hour) = rest.split_once('D').unwrap_or((rest, "0"));
        match kind {
            "H" => number(rest, 59).map(Self::Hour),
            "D" => number(rest, 23).map(Self::Day),
            "W" => Some(Self::Week(number(day, 6)?, number(hour, 23)?)),
            "M" => Some(Self::Month(number(day, 31).filter(|day| *day > 0)?, number(hour, 23)?)),
            _ => None,
        }
    }

    /// The last time that it came, in seconds since 1970.
    fn last(self, now: u64) -> u64 {
        let (fits, hour): (&dyn Fn(u64) -> bool, u64) = match &self {
            Self::Hour(minute) => {
                let this = now - now % HOUR + minute * 60;
                return if this <= now { this } else { this.saturating_sub(HOUR) };
            }
            Self::Day(hour) => (&|_| true, *hour),
            // The first day of all was a Thursday.
            Self::Week(wanted, hour) => (&|day| (day + 4) % 7 == *wanted, *hour),
            Self::Month(wanted, hour) => (&|day| date(day).2 == *wanted, *hour),
        };
        // The 31st of a month may be two months ago.
        let days = (0..=63).map_while(|ago| (now / DAY).checked_sub(ago));
        days.filter(|day| fits(*day)).map(|day| day * DAY + hour * HOUR).find(|at| *at <= now).unwrap_or(0)
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[derive(Debug)]
pub struct LogFile {
    pub path: PathBuf,
    file: File,
    size: u64,
    rotation: Rotation,
    /// When it was opened, or put aside last, in seconds.
    since: u64,
    /// What is to be written next.
    waiting: String,
}

impl LogFile {
    pub fn open(path: PathBuf, rotation: Rotation) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, rotation, since: seconds(), waiting: String::new() })
    }

    /// Opens what goes by the name now: somebody else may have put the file aside.
    pub fn reopen(&mut self, rotation: Rotation) -> io::Result<()> {
        let since = self.since;
        *self = Self { since, ..Self::open(self.path.clone(), rotation)? };
        Ok(())
    }

    /// Takes a text that is written at the next [`flush`][Self::flush], which is due when more than this waits.
    pub fn waiting(&mut self) -> &mut String {
        &mut self.waiting
    }

    /// Writes what waits. What cannot be written is lost.
    pub fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.waiting);
        let written = self.write(&text);
        self.waiting = text;
        self.waiting.clear();
        written
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let now = seconds();
        if self.rotation.date.is_some_and(|date| self.since < date.last(now)) {
            self.rotate(now)?;
        }
        self.file.write_all(text.as_bytes())?;
        self.size += text.len() as u64;
        if self.rotation.size > 0 && self.size >= self.rotation.size {
            self.rotate(now)?;
        }
        Ok(())
    }

    fn rotate(&mut self, now: u64) -> io::Result<()> {
        let Rotation { count, compress, .. } = self.rotation;
        for number in (1..count).rev() {
            for end in ["", ".gz"] {
                match fs::rename(self.aside(number - 1, end), self.aside(number, end)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        match count {
            0 => fs::remove_file(&self.path)?,
            _ if compress => {
                pack(&self.path, &self.aside(0, ".gz"))?;
                fs::remove_file(&self.path)?;
            }
            _ => fs::rename(&self.path, self.aside(0, ""))?,
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        (self.size, self.since) = (0, now);
        Ok(())
    }

    fn aside(&self, number: usize, end: &str) -> PathBuf {
        PathBuf::from(format!("{}.{number}{end}", self.path.display()))
    }
}

fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut packed = GzEncoder::new(File::create(to)?, Compression::default());
    io::copy(&mut File::open(from)?, &mut packed)?;
    packed.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("leveret-logs-{}-{name}", std::process::id())))
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(file: &mut LogFile, text: &str) {
        file.waiting().push_str(text);
        file.flush().expect("written");
    }

    #[test]
    fn files_are_put_aside() {
        let folder = Folder::new("size");
        let rotation = Rotation { size: 10, count: 2, ..Rotation::default() };
        let mut file = LogFile::open(folder.0.join("x.log"), rotation).expect("a file");
        for text in ["first\n", "second\n", "third\n", "fourth\n", "fifth\n", "sixth\n", "last\n"] {
            write(&mut file, text);
        }
        assert_eq!(folder.read("x.log"), "last\n");
        assert_eq!(folder.read("x.log.0"), "fifth\nsixth\n");
        assert_eq!(folder.read("x.log.1"), "third\nfourth\n");
        assert!(!folder.0.join("x.log.2").exists());
        fs::rename(folder.0.join("x.log"), folder.0.join("mine")).expect("renamed");
        file.reopen(rotation).expect("opened again");
        write(&mut file, "new\n");
        assert_eq!((folder.read("x.log").as_str(), folder.read("mine").as_str()), ("new\n", "last\n"));
    }

    #[test]
    fn and_compressed() {
        let folder = Folder::new("gz");
        let rotation = Rotation { size: 1, count: 2, compress: true, date: None };
        let mut file = LogFile::open(folder.0.join("x.log"), rotation).expect("a file");
        for text in ["first\n", "second\n", "third\n"] {
            write(&mut file, text);
        }
        for (name, wanted) in [("x.log.0.gz", "third\n"), ("x.log.1.gz", "second\n")] {
            let mut text = String::new();
            let packed = File::open(folder.0.join(name)).expect("a file");
            flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
            assert_eq!(text, wanted);
        }
        assert_eq!(folder.read("x.log"), "");
        assert!(!folder.0.join("x.log.0").exists());
    }

    #[test]
    fn when_it_is_time() {
        let folder = Folder::new("date");
        let rotation = Rotation { count: 1, date: Some(Period::Hour(0)), ..Rotation::default() };
        let mut file = LogFile::open(folder.0.join("x.log"), rotation).expect("a file");
        write(&mut file, "now\n");
        write(&mut file, "in the same hour, or not\n");
        file.since = seconds() - HOUR;
        write(&mut file, "an hour later\n");
        assert_eq!(folder.read("x.log"), "an hour later\n");
        assert!(folder.read("x.log.0").ends_with("or not\n"));
    }

    #[test]
    fn periods() {
        for (text, wanted) in [
            ("", Ok(None)),
            ("$D0", Ok(Some(Period::Day(0)))),
            ("$D23", Ok(Some(Period::Day(23)))),
            ("$H30", Ok(Some(Period::Hour(30)))),
            ("$W0D23", Ok(Some(Period::Week(0, 23)))),
            ("$W5", Ok(Some(Period::Week(5, 0)))),
            ("$M1D0", Ok(Some(Period::Month(1, 0)))),
            ("$D24", Err(())),
            ("$M0", Err(())),
            ("$W7D1", Err(())),
            ("D0", Err(())),
            ("$", Err(())),
            ("$ä", Err(())),
        ] {
            assert_eq!(Period::parse(text).map_err(drop), wanted, "{text}");
        }
        // A Sunday, 14:25:21 of 2026-11-29.
        let now = 1_795_962_321;
        for (period, hours_ago, at) in [
            (Period::Hour(25), 0, 25 * 60),
            (Period::Hour(26), 1, 26 * 60),
            (Period::Day(14), 0, 0),
            (Period::Day(15), 23, 0),
            (Period::Week(0, 3), 11, 0),
            (Period::Week(0, 15), 7 * 24 - 1, 0),
            (Period::Week(6, 14), 24, 0),
            (Period::Month(29, 14), 0, 0),
            (Period::Month(30, 14), 30 * 24, 0),
            (Period::Month(31, 14), 29 * 24, 0),
        ] {
            assert_eq!(period.last(now), now - now % HOUR - hours_ago * HOUR + at, "{period:?}");
        }
    }
}
