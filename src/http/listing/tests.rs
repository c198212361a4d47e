use serde_json::json;

use super::*;

fn write(query: &str, elements: Vec<Value>) -> Result<Value, Refusal> {
    let listing = Listing::new(query);
    let page = Page::new(&listing)?;
    let body = listing.write(page, elements)?;
    Ok(serde_json::from_slice(&body).expect("JSON"))
}

fn elements() -> Vec<Value> {
    let names = ["", "a.B", "a.c", "b", "é"];
    let each = |(n, name): (usize, &&str)| json!({ "name": name, "n": 10 - n, "in": { "x": n % 2, "y": 1 } });
    names.iter().enumerate().map(each).collect()
}

fn names(query: &str) -> String {
    let list = write(query, elements()).expect("a list");
    let items = list.get("items").unwrap_or(&list).as_array().expect("an array").clone();
    let names: Vec<_> = items.iter().map(|item| item["name"].as_str().expect("a name")).collect();
    names.join(",")
}

#[test]
fn order() {
    for (query, expected) in [
        ("", ",a.B,a.c,b,é"),
        ("sort=name", ",a.B,a.c,b,é"),
        ("sort=&sort_reverse=true", "é,b,a.c,a.B,"),
        ("sort=name&sort_reverse=yes", ",a.B,a.c,b,é"),
        ("sort=n", "é,b,a.c,a.B,"),
        ("sort=n&sort_reverse=true", ",a.B,a.c,b,é"),
        ("sort=in.x", ",a.c,é,a.B,b"),
        ("sort=nosuch.column", ",a.B,a.c,b,é"),
        ("sort=n.x", ",a.B,a.c,b,é"),
        ("sort=n&sort=name", "é,b,a.c,a.B,"),
    ] {
        assert_eq!(names(query), expected, "{query}");
    }
}

#[test]
fn the_order_of_terms() {
    let sorted = [
        json!(-1),
        json!(0.5),
        json!(2),
        json!(false),
        json!(null),
        json!(true),
        json!({ "a": 1 }),
        json!([]),
        json!([1]),
        json!("A"),
        json!("a"),
    ];
    for (n, a) in sorted.iter().enumerate() {
        for (m, b) in sorted.iter().enumerate() {
            assert_eq!(Key(a.clone()).cmp(&Key(b.clone())), n.cmp(&m), "{a} {b}");
        }
    }
}

#[test]
fn pages() {
    let of = |n: usize, items: &[usize], filtered: usize, size: usize| {
        let items: Vec<_> = items.iter().map(|n| elements()[*n].clone()).collect();
        json!({
            "filtered_count": filtered, "item_count": items.len(), "items": items, "page": n,
            "page_count": filtered.div_ceil(size), "page_size": size, "total_count": 5,
        })
    };
    for (query, expected) in [
        ("page=1", of(1, &[0, 1, 2, 3, 4], 5, 100)),
        ("page=2&page_size=2", of(2, &[2, 3], 5, 2)),
        ("page=3&page_size=2", of(3, &[4], 5, 2)),
        ("page=2&page_size=5", of(2, &[], 5, 5)),
        ("page=1&page_size=500&name=A.", of(1, &[1, 2], 2, 500)),
        ("page=1&name=", of(1, &[0, 1, 2, 3, 4], 5, 100)),
        ("page=1&name=%5Ea..$&use_regex=true", of(1, &[1, 2], 2, 100)),
        ("page=1&name=A%5C.b&use_regex=true", of(1, &[1], 1, 100)),
        ("page=1&name=(&use_regex=true", of(1, &[], 0, 100)),
        ("page=1&name=%C3%89", of(1, &[4], 1, 100)),
        ("page=%2B1&page_size=1&sort=n", of(1, &[4], 5, 1)),
    ] {
        assert_eq!(write(query, elements()), Ok(expected), "{query}");
    }
    assert_eq!(names("name=a&page_size=2"), ",a.B,a.c,b,é", "only a page is filtered");
}

#[test]
fn pages_that_are_not_there() {
    let out = |page, size, len| {
        let why = format!("Page out of range, page: {page} page size: {size}, len: {len}");
        Refusal::Page("page_out_of_range", why)
    };
    let invalid = |page: &str, size: &str| {
        let why = format!("Invalid pagination parameters: page number {page}, page size {size}");
        Refusal::Page("invalid_pagination_parameters", why)
    };
    let bad = || Refusal::bad_request("Pagination parameters are invalid");
    let huge = i64::MAX.to_string();
    for (query, expected) in [
        ("page=2", out("2", 100, 5)),
        ("page=3&page_size=2&name=b", out("3", 2, 2)),
        (&*format!("page={huge}&page_size=500"), out(&huge, 500, 5)),
        ("page=0", invalid("0", "undefined")),
        ("page=1&page_size=501", invalid("1", "501")),
        ("page=-1&page_size=0", invalid("-1", "0")),
        ("page=x", bad()),
        ("page=", bad()),
        ("page_size=1.5", bad()),
        ("page=99999999999999999999", bad()),
    ] {
        assert_eq!(write(query, elements()), Err(expected), "{query}");
    }
    let long = format!("name={}&use_regex=true", "a".repeat(1025));
    let why = "name filter regex is too long".to_owned();
    assert_eq!(write(&long, elements()), Err(Refusal::Page("invalid_pagination_parameters", why)));
}

#[test]
fn a_regex_that_takes_for_ever() {
    let elements: Vec<_> =
        (0..10_000).map(|n| json!({ "name": format!("{}{n}", "a".repeat(100)) })).collect();
    let query = "page=1&use_regex=true&name=%28%3F%3D%28a%2B%29%2B%24%29b";
    let page = write(query, elements).expect("a page");
    assert_eq!((&page["filtered_count"], &page["total_count"]), (&json!(0), &json!(10_000)));
}

#[test]
fn columns() {
    let json = json!({
        "a": 1,
        "b": { "x": { "y": 2, "z": 3 }, "w": 4 },
        "l": [{ "p": 1, "q": 2 }, 5],
        "arguments": { "k": 1, "m": 2 },
    });
    for (text, expected) in [
        ("a", json!({ "a": 1 })),
        ("a,b.w", json!({ "a": 1, "b": { "w": 4 } })),
        ("b.x.y,b.w", json!({ "b": { "x": { "y": 2 }, "w": 4 } })),
        ("b.x,b", json!({ "b": { "x": { "y": 2, "z": 3 }, "w": 4 } })),
        ("b,b.x", json!({ "b": { "x": { "y": 2, "z": 3 }, "w": 4 } })),
        ("b.nosuch,a.x", json!({ "a": 1, "b": [] })),
        ("l.q", json!({ "l": [{ "q": 2 }, 5] })),
        ("arguments.nosuch", json!({ "arguments": { "k": 1, "m": 2 } })),
        ("nosuch", json!([])),
        ("", json!([])),
        (",", json!([])),
    ] {
        assert_eq!(Columns::new(text).of(json.clone()), expected, "{text}");
    }
    assert_eq!(
        write("columns=name&sort=n&page=1&page_size=1", elements()).expect("a page")["items"],
        json!([{ "name": "é" }])
    );
}

#[test]
fn a_list_has_its_bounds() {
    let (listing, elements) = (Listing::new(""), elements());
    let all = listing.array(&elements).expect("a list").len();
    assert!(listing.array_within(all, &elements).is_ok());
    let refused = listing.array_within(all / 2, &elements);
    assert!(matches!(refused, Err(Refusal::BadRequest(_))), "{refused:?}");
}
