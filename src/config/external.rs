//! Erlang terms in their external form (`term_to_binary`), which is what `sealed` seals. No I/O.

use std::fmt;

use super::terms::Term;

/// The octet that begins every term.
const VERSION: u8 = 131;
const FLOAT: u8 = 70;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const SMALL_ATOM: u8 = 115;
const MAP: u8 = 116;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;

/// How deep terms may lie in each other.
const DEPTH_MAX: usize = 32;
/// Octets that an atom may have.
const ATOM_MAX: usize = 255;

/// A term; a string is a list of numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum External {
    Atom(String),
    Integer(i128),
    Float(f64),
    Binary(Vec<u8>),
    List(Vec<External>),
    Tuple(Vec<External>),
    Map(Vec<(External, External)>),
}

impl External {
    /// A term that somebody has written; `None` where it cannot be kept.
    pub fn of(term: &Term) -> Option<Self> {
        let all = |terms: &[Term]| terms.iter().map(Self::of).collect::<Option<Vec<_>>>();
        Some(match term {
            Term::Atom(name) if name.len() > ATOM_MAX => return None,
            Term::Atom(name) => Self::Atom(name.clone()),
            Term::Number(digits) => match digits.parse() {
                Ok(number) => Self::Integer(number),
                Err(_) => Self::Float(digits.parse().ok().filter(|number: &f64| number.is_finite())?),
            },
            Term::Text(text) => {
                Self::List(text.chars().map(|c| Self::Integer(u32::from(c).into())).collect())
            }
            Term::Binary(text) => Self::Binary(text.clone().into_bytes()),
            Term::List(terms) => Self::List(all(terms)?),
            Term::Tuple(terms) => Self::Tuple(all(terms)?),
            Term::Map(pairs) => {
                let pair = |(key, value): &(Term, Term)| Some((Self::of(key)?, Self::of(value)?));
                Self::Map(pairs.iter().map(pair).collect::<Option<_>>()?)
            }
        })
    }

    /// As Erlang encodes it; `None` where there is more of something than can be counted.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = vec![VERSION];
        self.encode_into(&mut out)?;
        Some(out)
    }

    fn encode_into(&self, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Atom(name) => {
                out.extend([SMALL_ATOM_UTF8, u8::try_from(name.len()).ok()?]);
                out.extend(name.as_bytes());
            }
            Self::Integer(number) => encode_integer(*number, out),
            Self::Float(number) => {
                out.push(FLOAT);
                out.extend(number.to_be_bytes());
            }
            Self::Binary(octets) => {
                count(BINARY, octets.len(), out)?;
                out.extend(octets);
            }
            Self::List(terms) if terms.is_empty() => out.push(NIL),
            Self::List(terms) => match (octets(terms), u16::try_from(terms.len())) {
                (Some(octets), Ok(length)) => {
                    out.push(STRING);
                    out.extend(length.to_be_bytes());
                    out.extend(octets);
                }
                _ => {
                    count(LIST, terms.len(), out)?;
                    terms.iter().try_for_each(|term| term.encode_into(out))?;
                    out.push(NIL);
                }
            },
            Self::Tuple(terms) => {
                match u8::try_from(terms.len()) {
                    Ok(length) => out.extend([SMALL_TUPLE, length]),
                    Err(_) => count(LARGE_TUPLE, terms.len(), out)?,
                }
                terms.iter().try_for_each(|term| term.encode_into(out))?;
            }
            Self::Map(pairs) => {
                count(MAP, pairs.len(), out)?;
                for (key, value) in pairs {
                    key.encode_into(out)?;
                    value.encode_into(out)?;
                }
            }
        }
        Some(())
    }

    /// Reads a term, after which nothing may follow.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let (version, mut rest) = octets.split_first()?;
        let term = if *version == VERSION { decode(&mut rest, 0)? } else { return None };
        rest.is_empty().then_some(term)
    }
}

/// Numbers as the octets of a string, if they are.
fn octets(terms: &[External]) -> Option<Vec<u8>> {
    let octet = |term: &External| match term {
        External::Integer(number) => u8::try_from(*number).ok(),
        _ => None,
    };
    terms.iter().map(octet).collect()
}

/// A kind of term, and how much of it there is.
fn count(kind: u8, count: usize, out: &mut Vec<u8>) -> Option<()> {
    out.push(kind);
    out.extend(u32::try_from(count).ok()?.to_be_bytes());
    Some(())
}

fn encode_integer(number: i128, out: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(number) {
        out.extend([SMALL_INTEGER, small]);
    } else if let Ok(number) = i32::try_from(number) {
        out.push(INTEGER);
        out.extend(number.to_be_bytes());
    } else {
        let octets = number.unsigned_abs().to_le_bytes();
        let used = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        out.push(SMALL_BIG);
        out.extend(u8::try_from(used));
        out.push(u8::from(number < 0));
        out.extend(&octets[..used]);
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    take(rest, 1).map(|octets| octets[0])
}

fn short(rest: &mut &[u8]) -> Option<usize> {
    let octets = take(rest, 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(octets).into())
}

fn long(rest: &mut &[u8]) -> Option<usize> {
    let octets = take(rest, 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(octets)).ok()
}

/// So many terms. Each takes an octet at least, so that a count alone does not cost memory.
fn several(rest: &mut &[u8], count: usize, depth: usize) -> Option<Vec<External>> {
    if count > rest.len() {
        return None;
    }
    (0..count).map(|_| decode(rest, depth + 1)).collect()
}

fn decode(rest: &mut &[u8], depth: usize) -> Option<External> {
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match byte(rest)? {
        SMALL_INTEGER => External::Integer(byte(rest)?.into()),
        INTEGER => External::Integer(i32::from_be_bytes(take(rest, 4)?.try_into().ok()?).into()),
        SMALL_BIG => {
            let (length, negative) = (byte(rest)?.into(), byte(rest)? != 0);
            let mut octets = [0; 16];
            octets.get_mut(..length)?.copy_from_slice(take(rest, length)?);
            let number = i128::try_from(u128::from_le_bytes(octets)).ok()?;
            External::Integer(if negative { -number } else { number })
        }
        FLOAT => External::Float(f64::from_be_bytes(take(rest, 8)?.try_into().ok()?)),
        kind @ (SMALL_ATOM | SMALL_ATOM_UTF8 | ATOM | ATOM_UTF8) => {
            let is_small = [SMALL_ATOM, SMALL_ATOM_UTF8].contains(&kind);
            let length = if is_small { byte(rest)?.into() } else { short(rest)? };
            External::Atom(String::from_utf8(take(rest, length)?.to_vec()).ok()?)
        }
        BINARY => {
            let length = long(rest)?;
            External::Binary(take(rest, length)?.to_vec())
        }
        NIL => External::List(Vec::new()),
        STRING => {
            let length = short(rest)?;
            External::List(
                take(rest, length)?.iter().map(|octet| External::Integer((*octet).into())).collect(),
            )
        }
        LIST => {
            let length = long(rest)?;
            let terms = several(rest, length, depth)?;
            // A list that does not end with an empty one is none that people write.
            (byte(rest)? == NIL).then_some(External::List(terms))?
        }
        kind @ (SMALL_TUPLE | LARGE_TUPLE) => {
            let length = if kind == SMALL_TUPLE { byte(rest)?.into() } else { long(rest)? };
            External::Tuple(several(rest, length, depth)?)
        }
        MAP => {
            let length = long(rest)?;
            let mut terms = several(rest, length.checked_mul(2)?, depth)?.into_iter();
            let pairs = std::iter::from_fn(|| Some((terms.next()?, terms.next()?)));
            External::Map(pairs.collect())
        }
        _ => return None,
    })
}

/// As Erlang writes it (`~p`), on one line.
impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(name) if is_plain(name) => f.write_str(name),
            Self::Atom(name) => write!(f, "'{}'", escaped(name, '\'')),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => {
                let digits = format!("{number:?}");
                let with_point = if digits.contains('.') { digits } else { digits.replacen('e', ".0e", 1) };
                f.write_str(&with_point)
            }
            Self::Binary(octets) if octets.is_empty() => f.write_str("<<>>"),
            Self::Binary(octets) => match printable(octets) {
                Some(text) => write!(f, "<<\"{}\">>", escaped(&text, '"')),
                None => write!(f, "<<{}>>", joined(octets)),
            },
            Self::List(terms) => match octets(terms).filter(|octets| !octets.is_empty()) {
                Some(octets) => match printable(&octets) {
                    Some(text) => write!(f, "\"{}\"", escaped(&text, '"')),
                    None => write!(f, "[{}]", joined(&octets)),
                },
                None => write!(f, "[{}]", joined(terms)),
            },
            Self::Tuple(terms) => write!(f, "{{{}}}", joined(terms)),
            Self::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key} => {value}")).collect();
                write!(f, "#{{{}}}", pairs.join(","))
            }
        }
    }
}

fn is_plain(atom: &str) -> bool {
    atom.starts_with(|c: char| c.is_ascii_lowercase())
        && atom.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
}

fn joined<T: fmt::Display>(terms: &[T]) -> String {
    terms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Octets as Latin-1, which is what Erlang takes them for, if all of them can be printed.
fn printable(octets: &[u8]) -> Option<String> {
    let is_printable = |octet: &u8| matches!(octet, 8..=13 | 27 | 32..=126 | 160..=255);
    octets.iter().all(is_printable).then(|| octets.iter().copied().map(char::from).collect())
}

fn escaped(text: &str, quote: char) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            '\u{8}' => result.push_str("\\b"),
            '\u{b}' => result.push_str("\\v"),
            '\u{c}' => result.push_str("\\f"),
            '\u{1b}' => result.push_str("\\e"),
            c if c == quote || c == '\\' => result.extend(['\\', c]),
            c => result.push(c),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::terms;

    fn written(text: &str) -> External {
        let (term, rest) = terms::first(text).expect("a term");
        assert_eq!(rest, "");
        External::of(&term).expect("it can be kept")
    }

    #[test]
    fn terms_come_back_and_are_shown_as_erlang_does() {
        for (text, shown) in [
            ("abc", "abc"),
            ("'A b'", "'A b'"),
            ("\"ab\\n\"", "\"ab\\n\""),
            ("<<\"ab\">>", "<<\"ab\">>"),
            ("<<>>", "<<>>"),
            ("\"\"", "[]"),
            ("\"日\"", "[26085]"),
            ("<<\"ä\"/utf8>>", "<<\"Ã¤\">>"),
            ("1", "1"),
            ("256", "256"),
            ("-5", "-5"),
            ("70000", "70000"),
            ("99999999999999999999", "99999999999999999999"),
            ("-99999999999999999999", "-99999999999999999999"),
            ("1.5", "1.5"),
            ("{a,<<\"b\">>,\"c\"}", "{a,<<\"b\">>,\"c\"}"),
            ("[a,b]", "[a,b]"),
            ("[1,2]", "[1,2]"),
            ("#{a => 1}", "#{a => 1}"),
        ] {
            let term = written(text);
            assert_eq!(term.to_string(), shown);
            let encoded = term.encode().expect("short");
            assert_eq!(External::decode(&encoded), Some(term), "{text}");
        }
    }

    #[test]
    fn encoded_as_erlang_does() {
        for (text, wanted) in [
            ("abc", &[131, 119, 3, 97, 98, 99][..]),
            ("\"ab\"", &[131, 107, 0, 2, 97, 98]),
            ("<<\"ab\">>", &[131, 109, 0, 0, 0, 2, 97, 98]),
            ("-5", &[131, 98, 255, 255, 255, 251]),
            ("4294967296", &[131, 110, 5, 0, 0, 0, 0, 0, 1]),
            ("{a,[b]}", &[131, 104, 2, 119, 1, 97, 108, 0, 0, 0, 1, 119, 1, 98, 106]),
        ] {
            assert_eq!(written(text).encode().as_deref(), Some(wanted), "{text}");
        }
        let many = External::Tuple(vec![External::Integer(1); 300]);
        assert_eq!(External::decode(&many.encode().expect("few enough")), Some(many));
    }

    #[test]
    fn damaged_terms_are_none() {
        let whole =
            written("{a,[b,\"c\",<<\"d\">>,1.5,#{e => 99999999999999999999}]}").encode().expect("short");
        for length in 0..whole.len() {
            assert_eq!(External::decode(&whole[..length]), None, "{length}");
        }
        for octets in [
            &[131, 108, 255, 255, 255, 255, 106][..],
            &[131, 109, 255, 255, 255, 255],
            &[131, 116, 255, 255, 255, 255],
            &[131, 110, 200, 0],
            &[131, 97, 1, 1],
            &[131, 108, 0, 0, 0, 1, 97, 1, 97, 2],
            &[130, 97, 1],
        ] {
            assert_eq!(External::decode(octets), None, "{octets:?}");
        }
        let deep = [&[131][..], &[104, 1].repeat(1 << 16), &[106]].concat();
        assert_eq!(External::decode(&deep), None);
    }
}
