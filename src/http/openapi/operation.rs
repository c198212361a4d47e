//! What there is to say of a method of a path.

/// A path and its methods.
pub(super) struct At {
    pub path: &'static str,
    /// What it is about.
    pub tag: &'static str,
    pub operations: &'static [Operation],
}

/// A method.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub method: &'static str,
    pub summary: &'static str,
    /// The media type and the schema of what is sent.
    pub body: Option<(&'static str, &'static str)>,
    /// What comes back when all goes well, and what is an answer though it does not.
    pub answers: &'static [(u16, Shape)],
    /// Parameters of the query beside those that lists and objects have: name and description.
    pub asking: &'static [(&'static str, &'static str)],
    /// Whether nobody has to log in.
    pub open: bool,
}

/// What comes back.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Nothing,
    /// Of this schema.
    One(&'static str),
    Many(&'static str),
    /// Many, or a page of them.
    Pages(&'static str),
    /// Of this media type.
    Text(&'static str),
}

const JSON: &str = "application/json";
const MADE: &[(u16, Shape)] = &[(201, Shape::Nothing), (204, Shape::Nothing)];
const DONE: &[(u16, Shape)] = &[(204, Shape::Nothing)];

const COLUMNS: [(&str, &str, &str); 1] = [("columns", "string", "The fields to show, as a,b.c")];
const ORDER: [(&str, &str, &str); 2] =
    [("sort", "string", "The field to sort by"), ("sort_reverse", "boolean", "Whether the last comes first")];
const PAGES: [(&str, &str, &str); 4] = [
    ("page", "integer", "The page to show, from 1"),
    ("page_size", "integer", "Elements of a page, up to 500"),
    ("name", "string", "What names have to have in them; needs a page"),
    ("use_regex", "boolean", "Whether that is a regular expression"),
];

impl At {
    pub(super) const fn new(path: &'static str, tag: &'static str, operations: &'static [Operation]) -> Self {
        Self { path, tag, operations }
    }
}

impl Operation {
    const fn new(method: &'static str, summary: &'static str, answers: &'static [(u16, Shape)]) -> Self {
        Self { method, summary, body: None, answers, asking: &[], open: false }
    }

    pub(super) const fn get(summary: &'static str, answers: &'static [(u16, Shape)]) -> Self {
        Self::new("get", summary, answers)
    }

    /// Makes or changes something, of which a schema says what is sent.
    pub(super) const fn put(summary: &'static str, schema: &'static str) -> Self {
        let mut operation = Self::new("put", summary, MADE);
        operation.body = Some((JSON, schema));
        operation
    }

    pub(super) const fn delete(summary: &'static str) -> Self {
        Self::new("delete", summary, DONE)
    }

    pub(super) const fn post(summary: &'static str, answers: &'static [(u16, Shape)]) -> Self {
        Self::new("post", summary, answers)
    }

    /// Puts something that is there already, with nothing sent.
    pub(super) const fn enable(summary: &'static str) -> Self {
        Self::new("put", summary, DONE)
    }

    /// The same with something that is sent.
    pub(super) const fn sending(mut self, schema: &'static str) -> Self {
        self.body = Some((JSON, schema));
        self
    }

    pub(super) const fn sending_form(mut self, schema: &'static str) -> Self {
        self.body = Some(("application/x-www-form-urlencoded", schema));
        self
    }

    pub(super) const fn asking(mut self, asking: &'static [(&'static str, &'static str)]) -> Self {
        self.asking = asking;
        self
    }

    pub(super) const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Parameters of the query: name, type and description.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let has = |which: fn(&Shape) -> bool| {
            self.method == "get" && self.answers.iter().any(|(_, shape)| which(shape))
        };
        let is_shown = has(|shape| !matches!(shape, Shape::Nothing | Shape::Text(_)));
        let is_list = has(|shape| matches!(shape, Shape::Many(_) | Shape::Pages(_)));
        let is_paged = has(|shape| matches!(shape, Shape::Pages(_)));
        let columns = COLUMNS.into_iter().filter(move |_| is_shown);
        let order = ORDER.into_iter().filter(move |_| is_list);
        let pages = PAGES.into_iter().filter(move |_| is_paged);
        let more = self.asking.iter().map(|(name, description)| (*name, "string", *description));
        columns.chain(order).chain(pages).chain(more)
    }
}
