//! The PROXY protocol (HAProxy, `doc/proxy-protocol.txt`, versions 1 and 2): a proxy's word on where a client comes from.
//!
//! Nothing is read past the header: what follows is the client's.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Octets that a header of version 1 has at most, its end included.
const LINE_MAX: usize = 107;
/// Octets that may follow the first 16 of version 2. Addresses take 36; proxies add some facts, certificates at the most.
const BODY_MAX: usize = 16 << 10;

/// The ends that a connection has for a client: its own, and the one it thinks it talks to.
type Addresses = (SocketAddr, SocketAddr);

/// Reads a header. `None`: the proxy speaks for itself, or does not say for whom.
pub(super) async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Addresses>> {
    // Who speaks AMQP or TLS at once is found out by the first octet.
    let first = reader.read_u8().await?;
    match first {
        b'P' => version_1(reader).await,
        b'\r' => version_2(reader).await,
        _ => Err(invalid("it does not begin like one")),
    }
}

async fn version_1<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Addresses>> {
    let mut line = vec![b'P'];
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_MAX {
            return Err(invalid("its line is too long"));
        }
        line.push(reader.read_u8().await?);
        if !b"PROXY ".starts_with(&line[..line.len().min(6)]) {
            return Err(invalid("it does not begin like one"));
        }
    }
    let line = String::from_utf8(line).map_err(|_| invalid("its line is no text"))?;
    addresses(line.trim_end()).ok_or_else(|| invalid("its line does not say what it should"))
}

/// What a line of version 1 says.
fn addresses(line: &str) -> Option<Option<Addresses>> {
    let mut words = line.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let v4 = match words.next()? {
        "TCP4" => true,
        "TCP6" => false,
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let address = |word: &str| {
        let address: IpAddr = word.parse().ok()?;
        (address.is_ipv4() == v4).then_some(address)
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (from, to) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Some(((source, from).into(), (destination, to).into())))
}

async fn version_2<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Addresses>> {
    let mut head = [b'\r'; 16];
    reader.read_exact(&mut head[1..]).await?;
    if head[..12] != SIGNATURE {
        return Err(invalid("it does not begin like one"));
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > BODY_MAX {
        return Err(invalid("it is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    match head[12] {
        // The proxy itself: a health check.
        0x20 => Ok(None),
        0x21 => carried(head[13] >> 4, &body),
        _ => Err(invalid("neither its version nor its command is known")),
    }
}

/// The addresses in a header of version 2. Families other than those of IP say nothing that could be shown.
fn carried(family: u8, body: &[u8]) -> io::Result<Option<Addresses>> {
    let short = || invalid("its addresses are cut off");
    let port = |at: usize| match body.get(at..at + 2) {
        Some(octets) => Ok(u16::from_be_bytes([octets[0], octets[1]])),
        None => Err(short()),
    };
    match family {
        1 => {
            let address = |at: usize| {
                let octets = body.get(at..at + 4).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
                octets.map(Ipv4Addr::from).ok_or_else(short)
            };
            Ok(Some(((address(0)?, port(8)?).into(), (address(4)?, port(10)?).into())))
        }
        2 => {
            let address = |at: usize| {
                let octets = body.get(at..at + 16).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
                octets.map(Ipv6Addr::from).ok_or_else(short)
            };
            Ok(Some(((address(0)?, port(32)?).into(), (address(16)?, port(34)?).into())))
        }
        _ => Ok(None),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of some octets, and how many of them are left.
    async fn read_all(octets: &[u8]) -> (io::Result<Option<Addresses>>, usize) {
        let mut reader = octets;
        (read(&mut reader).await, reader.len())
    }

    fn ends(peer: &str, local: &str) -> Option<Addresses> {
        Some((peer.parse().expect("an address"), local.parse().expect("an address")))
    }

    #[tokio::test]
    async fn lines_of_version_1() {
        let four = ends("10.0.0.1:40000", "10.0.0.2:5672");
        let six = ends("[2001:db8::1]:40000", "[::1]:5672");
        for (line, wanted) in [
            ("PROXY TCP4 10.0.0.1 10.0.0.2 40000 5672\r\n", four),
            ("PROXY TCP6 2001:db8::1 ::1 40000 5672\r\n", six),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        ] {
            let (found, left) = read_all(format!("{line}AMQP").as_bytes()).await;
            assert_eq!((found.expect(line), left), (wanted, 4), "{line}");
        }
    }

    #[tokio::test]
    async fn headers_of_version_2() {
        let header = |command: u8, family: u8, body: &[u8]| {
            let length = u16::try_from(body.len()).expect("short").to_be_bytes();
            [&SIGNATURE[..], &[command, family], &length, body, b"AMQP"].concat()
        };
        let four = [10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0x16, 0x28, 4, 0, 1, 0];
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
        for (octets, wanted) in [
            (header(0x21, 0x11, &four), ends("10.0.0.1:40000", "10.0.0.2:5672")),
            (header(0x21, 0x21, &six), ends("[::1]:3", "[::2]:4")),
            (header(0x20, 0, &[]), None),
            (header(0x20, 0x11, &four), None),
            (header(0x21, 0x31, &[0; 216]), None),
        ] {
            let (found, left) = read_all(&octets).await;
            assert_eq!((found.expect("a header"), left), (wanted, 4));
        }
        for wrong in [header(0x21, 0x11, &four[..11]), header(0x31, 0x11, &four), header(0x22, 0x11, &four)] {
            assert!(read_all(&wrong).await.0.is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        for octets in [
            &b"AMQP\0\0\x09\x01"[..],
            b"\x16\x03\x01",
            b"POST / HTTP/1.1\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 40000\r\n",
            b"PROXY TCP4 10.0.0.1 ::1 40000 5672\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 65536\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 5672 1\r\n",
            b"PROXY UDP4 10.0.0.1 10.0.0.2 40000 5672\r\n",
            b"PROXY \xff\r\n",
            b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\0",
            long.as_bytes(),
            &huge,
        ] {
            let error = read_all(octets).await.0.expect_err("an error");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{octets:?}: {error}");
        }
        let cut = read_all(b"PROXY TCP4 10.").await.0.expect_err("an error");
        assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
    }
}
