//! What there is to call: the tools, and the form of a command.

use super::call::Call;
use super::failure::Failure;
use super::line::Switch;
use super::output::Output;

/// The programs of RabbitMQ that this one stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Ctl = 1,
    Diagnostics = 2,
    Plugins = 4,
    Queues = 8,
    Streams = 16,
    Upgrade = 32,
}

impl Tool {
    pub const ALL: [Self; 6] =
        [Self::Ctl, Self::Diagnostics, Self::Plugins, Self::Queues, Self::Streams, Self::Upgrade];

    /// The program's name in RabbitMQ.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Plugins => "rabbitmq-plugins",
            Self::Queues => "rabbitmq-queues",
            Self::Streams => "rabbitmq-streams",
            Self::Upgrade => "rabbitmq-upgrade",
        }
    }

    /// By the program's name, or as a subcommand of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name || tool.subcommand() == name)
    }

    fn subcommand(self) -> &'static str {
        let name = self.name();
        name.strip_prefix("rabbitmq-").or_else(|| name.strip_prefix("rabbitmq")).unwrap_or(name)
    }
}

/// Several tools.
pub const CTL: u8 = Tool::Ctl as u8;
pub const DIAGNOSTICS: u8 = Tool::Diagnostics as u8;
pub const PLUGINS: u8 = Tool::Plugins as u8;
pub const QUEUES: u8 = Tool::Queues as u8;
pub const STREAMS: u8 = Tool::Streams as u8;
pub const UPGRADE: u8 = Tool::Upgrade as u8;

/// Under which title help lists a command, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    Help,
    Nodes,
    Cluster,
    Users,
    Access,
    Health,
    Parameters,
    Policies,
    Vhosts,
    Queues,
    Upgrade,
    Configuration,
    Features,
    Operations,
    Definitions,
    Plugins,
    Other,
    Deprecated,
}

impl Section {
    pub fn title(self) -> &'static str {
        match self {
            Self::Help => "Help",
            Self::Nodes => "Nodes",
            Self::Cluster => "Cluster",
            Self::Users => "Users",
            Self::Access => "Access Control",
            Self::Health => "Monitoring, observability and health checks",
            Self::Parameters => "Parameters",
            Self::Policies => "Policies",
            Self::Vhosts => "Virtual hosts",
            Self::Queues => "Queues",
            Self::Upgrade => "Upgrade",
            Self::Configuration => "Configuration and Environment",
            Self::Features => "Feature flags",
            Self::Operations => "Operations",
            Self::Definitions => "Definitions",
            Self::Plugins => "Plugin Management",
            Self::Other => "Other",
            Self::Deprecated => "Deprecated",
        }
    }
}

/// What has to be there for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A node whose ports are open.
    App,
    /// A node whose ports are closed.
    Stopped,
    /// Nothing: where it needs a node after all, it says so itself.
    Nothing,
}

/// A command of one or several tools.
pub struct Command {
    pub name: &'static str,
    /// What comes after the name, in RabbitMQ's words.
    pub usage: &'static str,
    pub about: &'static str,
    pub section: Section,
    pub tools: u8,
    pub needs: Needs,
    /// How many arguments there may be.
    pub arguments: (usize, usize),
    pub switches: &'static [Switch],
    pub run: fn(&mut Call) -> Result<Output, Failure>,
}

/// Any number of arguments.
pub const MANY: usize = usize::MAX;

impl Command {
    /// A command of `rabbitmqctl` that needs a running node, and no arguments.
    pub const fn new(
        name: &'static str,
        section: Section,
        about: &'static str,
        run: fn(&mut Call) -> Result<Output, Failure>,
    ) -> Self {
        let (tools, needs) = (CTL, Needs::App);
        Self { name, usage: "", about, section, tools, needs, arguments: (0, 0), switches: &[], run }
    }

    pub const fn tools(self, tools: u8) -> Self {
        Self { tools, ..self }
    }

    pub const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// How many arguments it takes, and how help writes what comes after the name.
    pub const fn takes(self, least: usize, most: usize, usage: &'static str) -> Self {
        Self { arguments: (least, most), usage, ..self }
    }

    pub const fn switches(self, switches: &'static [Switch]) -> Self {
        Self { switches, ..self }
    }

    pub fn belongs_to(&self, tool: Tool) -> bool {
        self.tools & tool as u8 != 0
    }
}
