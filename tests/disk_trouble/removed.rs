//! Files that go: who waits for it, and who does not.

use leveret::log::disk::Disk;

use crate::common::wait_until;
use crate::http::Request;
use crate::rig::Rig;
use crate::sim_disk::Failure;

const SIZE: usize = 1000;

/// A queue is deleted once nobody can find it: that its files cannot be removed changes nothing of that.
#[test]
fn a_deleted_queue_is_gone_before_its_files_are() {
    let mut rig = Rig::start("deleted", 64 << 20);
    let mut client = rig.client();
    client.all_ok(1, &["queue.declare queue=q durable"]);
    rig.publisher("q").confirmed(10, SIZE);
    rig.disk.fail_after(0, Failure::Remove);
    assert_eq!(client.call(1, "queue.delete queue=q"), "queue.delete-ok message-count=10");
    rig.until_said("nothing is confirmed any more");
    rig.restart(rig.disk.kill());
    let mut client = rig.client();
    assert!(client.call(1, "queue.declare queue=q passive").contains("404"));
    assert_eq!(rig.disk.list().unwrap(), [], "they go at the next start");
}

/// That its file is gone may be all that says that messages are settled: whoever was told so relies on it.
#[test]
fn a_purged_queue_is_empty_once_its_files_are_gone() {
    let mut rig = Rig::start("purged", 64 << 20);
    let mut client = rig.client();
    client.all_ok(1, &["queue.declare queue=q durable"]);
    rig.publisher("q").confirmed(400, SIZE);
    rig.disk.fail_after(0, Failure::Remove);
    client.send(1, "queue.purge queue=q");
    let end = client.until_end();
    assert!(end.starts_with("connection.close 541 "), "{end}");
    rig.until_said("nothing is confirmed any more");
    rig.restart(rig.disk.kill());
    rig.client().all_ok(1, &["queue.purge queue=q"]);
    rig.restart(rig.disk.crash());
    assert_eq!(rig.queue("q").ready, 0);
}

/// There are more of them than go with one commit, and nothing else happens meanwhile.
#[test]
fn many_files_go_one_after_another() {
    const COUNT: usize = 150;
    let rig = Rig::start("many", 64 << 20);
    assert_eq!(rig.request(Request::new("PUT", "/api/vhosts/v").body("{}")).status, 201);
    for number in 0..COUNT {
        let queue = format!("/api/queues/v/q{number}");
        assert_eq!(rig.request(Request::new("PUT", &queue).body(r#"{"durable":true}"#)).status, 201);
        let publish = format!(
            r#"{{"properties":{{"delivery_mode":2}},"routing_key":"q{number}","payload":"x","payload_encoding":"string"}}"#
        );
        let path = "/api/exchanges/v/amq.default/publish";
        assert_eq!(rig.request(Request::new("POST", path).body(&*publish)).status, 200);
    }
    wait_until(|| rig.disk.list().unwrap().len() == COUNT, || "not all are there".to_owned());
    assert_eq!(rig.request(Request::new("DELETE", "/api/vhosts/v")).status, 204);
    wait_until(|| rig.disk.list().unwrap().is_empty(), || format!("{:?} are left", rig.disk.list()));
}
