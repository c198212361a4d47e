//! Reply codes and the exceptions that close a channel or a connection.

/// The reply codes of AMQP 0-9-1 (section 1.2 "Constants" and RabbitMQ's use of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyCode {
    NoRoute,
    ConnectionForced,
    AccessRefused,
    NotFound,
    ResourceLocked,
    PreconditionFailed,
    FrameError,
    CommandInvalid,
    ChannelError,
    UnexpectedFrame,
    ResourceError,
    NotAllowed,
    NotImplemented,
    InternalError,
}

impl ReplyCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::NoRoute => 312,
            Self::ConnectionForced => 320,
            Self::AccessRefused => 403,
            Self::NotFound => 404,
            Self::ResourceLocked => 405,
            Self::PreconditionFailed => 406,
            Self::FrameError => 501,
            Self::CommandInvalid => 503,
            Self::ChannelError => 504,
            Self::UnexpectedFrame => 505,
            Self::ResourceError => 506,
            Self::NotAllowed => 530,
            Self::NotImplemented => 540,
            Self::InternalError => 541,
        }
    }

    /// The constant's name, with which every reply text begins.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "NO_ROUTE",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// The constant's name as Erlang writes it, in logs.
    pub fn erlang_name(self) -> String {
        self.name().to_lowercase()
    }

    /// Whether it closes the connection and not only the channel.
    pub fn is_hard(self) -> bool {
        !matches!(
            self,
            Self::NoRoute
                | Self::AccessRefused
                | Self::NotFound
                | Self::ResourceLocked
                | Self::PreconditionFailed
        )
    }
}

/// The class and method id that a close names as its cause; (0, 0) where there is none.
pub type MethodId = (u16, u16);

/// A refusal with a reply code. Its code decides whether it ends the channel or the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    pub code: ReplyCode,
    /// What comes after `NAME - ` in the reply text.
    pub explanation: String,
    pub cause: MethodId,
}

impl Exception {
    pub fn new(code: ReplyCode, explanation: impl Into<String>) -> Self {
        Self { code, explanation: explanation.into(), cause: (0, 0) }
    }

    /// The same, naming the method that caused it.
    #[must_use]
    pub fn caused_by(mut self, cause: MethodId) -> Self {
        self.cause = cause;
        self
    }

    /// The reply text as RabbitMQ cuts it: at most 255 octets, the last three being dots if it is longer.
    pub fn reply_text(&self) -> Vec<u8> {
        if self.explanation.is_empty() {
            return self.code.name().as_bytes().to_vec();
        }
        let mut text = format!("{} - {}", self.code.name(), self.explanation).into_bytes();
        if text.len() > 255 {
            text.truncate(252);
            text.extend_from_slice(b"...");
        }
        text
    }
}

macro_rules! constructors {
    ($($name:ident => $code:ident),* $(,)?) => {
        impl Exception {
            $(pub fn $name(explanation: impl Into<String>) -> Self {
                Self::new(ReplyCode::$code, explanation)
            })*
        }
    };
}

constructors! {
    access_refused => AccessRefused,
    not_found => NotFound,
    resource_locked => ResourceLocked,
    precondition_failed => PreconditionFailed,
    frame_error => FrameError,
    command_invalid => CommandInvalid,
    channel_error => ChannelError,
    unexpected_frame => UnexpectedFrame,
    resource_error => ResourceError,
    not_allowed => NotAllowed,
    not_implemented => NotImplemented,
    internal_error => InternalError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_with_dots() {
        let text = Exception::not_found("x".repeat(300)).reply_text();
        assert_eq!(text.len(), 255);
        assert!(text.starts_with(b"NOT_FOUND - xxx") && text.ends_with(b"x..."));
        let fits = Exception::not_found("x".repeat(255 - 12)).reply_text();
        assert!(fits.len() == 255 && fits.ends_with(b"xxxx"));
    }

    #[test]
    fn only_the_4xx_and_no_route_spare_the_connection() {
        assert!(!ReplyCode::PreconditionFailed.is_hard());
        assert!(ReplyCode::NotAllowed.is_hard() && ReplyCode::ConnectionForced.is_hard());
    }
}
