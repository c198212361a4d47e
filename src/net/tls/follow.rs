//! Files that change: RabbitMQ notices renewed certificates by itself, after two minutes at the most.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Tls;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(60);

/// When each file was changed last, where that can be known.
type Stamps = [Option<SystemTime>; 3];

/// Reads certificates again whenever their files have changed. Never ends.
pub async fn follow(all: Vec<Arc<Tls>>) {
    let mut before: Vec<Stamps> = all.iter().map(|tls| tls.stamps()).collect();
    loop {
        sleep(INTERVAL).await;
        for (tls, before) in all.iter().zip(&mut before) {
            let (tls, stamps) = (Arc::clone(tls), *before);
            // Files are read, and keys decrypted, where nobody waits. It fails only when the node is going down.
            if let Ok(stamps) = spawn_blocking(move || tls.follow(stamps)).await {
                *before = stamps;
            }
        }
    }
}

impl Tls {
    fn stamps(&self) -> Stamps {
        let settings = &self.settings;
        [&settings.cacertfile, &settings.certfile, &settings.keyfile]
            .map(|path| path.as_ref()?.metadata().ok()?.modified().ok())
    }

    /// Reloads if a file is another one than before. What cannot be used is said once. Returns what the files are now.
    fn follow(&self, before: Stamps) -> Stamps {
        let stamps = self.stamps();
        if stamps == before {
            return before;
        }
        match self.reload() {
            Ok(()) => tracing::info!("certificates have changed and were read again"),
            Err(e) => tracing::error!("certificates have changed, and those before stay in use: {e}"),
        }
        stamps
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, issued, settings};
    use super::*;

    #[test]
    fn a_change_is_noticed_once() {
        let folder = Folder::new("follow");
        let (settings, authority) = settings(&folder);
        let tls = Tls::new(settings).expect("loaded");
        let (mut stamps, first) = (tls.stamps(), tls.config());
        stamps = tls.follow(stamps);
        assert!(Arc::ptr_eq(&first, &tls.config()), "nothing has changed");
        let later = SystemTime::now() + Duration::from_secs(5);
        let put = |name: &str, text: &str| {
            let path = folder.put(name, text);
            let file = std::fs::File::options().write(true).open(path).expect("a file");
            file.set_modified(later).expect("a later time");
        };
        let (certificate, key) = issued(&authority);
        put("cert.pem", &certificate);
        stamps = tls.follow(stamps);
        assert!(Arc::ptr_eq(&first, &tls.config()), "its key is still to come");
        put("key.pem", &key.serialize_pem());
        stamps = tls.follow(stamps);
        let second = tls.config();
        assert!(!Arc::ptr_eq(&first, &second));
        tls.follow(stamps);
        assert!(Arc::ptr_eq(&second, &tls.config()));
    }
}
