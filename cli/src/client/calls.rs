//! The calls of the admin API, with records in and out.

use metahub_policy::{Cpu, Grant, Rule};
use metahub_proto::admin::v1 as pb;

use super::{Client, convert};
use crate::{
    failure::Failure,
    record::{
        Login, MachineType, NewLogin, Pin, Recipe, Revision, Status, Upstream, UpstreamSecrets,
        User, Worker,
    },
};

type Result<T> = std::result::Result<T, Failure>;

/// A machine type that was created or replaced.
pub(crate) struct Created {
    pub(crate) machine_type: MachineType,
    pub(crate) login: Option<NewLogin>,
    pub(crate) warnings: Vec<String>,
}

impl Client {
    pub(crate) async fn create_user(&self, name: &str, password: &str) -> Result<User> {
        let request = pb::CreateUserRequest {
            name: name.into(),
            password: password.into(),
        };
        let answer = self.answer(self.rpc.clone().create_user(request).await)?;
        let name = answer.user.map_or_else(|| name.into(), |user| user.name);
        Ok(User { name })
    }

    pub(crate) async fn users(&self) -> Result<Vec<User>> {
        let request = pb::ListUsersRequest {};
        let answer = self.answer(self.rpc.clone().list_users(request).await)?;
        let users = answer.users.into_iter();
        Ok(users.map(|user| User { name: user.name }).collect())
    }

    pub(crate) async fn delete_user(&self, name: &str) -> Result<()> {
        let request = pb::DeleteUserRequest { name: name.into() };
        self.answer(self.rpc.clone().delete_user(request).await)?;
        Ok(())
    }

    pub(crate) async fn create_type(
        &self,
        machine_type: MachineType,
        with_login: bool,
        allow_selectors: bool,
    ) -> Result<Created> {
        let request = pb::CreateTypeRequest {
            machine_type: Some(convert::to_machine_type(machine_type)),
            without_login: !with_login,
            allow_selectors,
        };
        let answer = self.answer(self.rpc.clone().create_type(request).await)?;
        Ok(Created {
            machine_type: convert::machine_type(answer.machine_type.unwrap_or_default()),
            login: answer.login.map(convert::new_login),
            warnings: answer.warnings,
        })
    }

    /// The machine types of a user, or all.
    pub(crate) async fn machine_types(&self, user: Option<&str>) -> Result<Vec<MachineType>> {
        let request = pb::ListTypesRequest {
            user: user.unwrap_or_default().into(),
        };
        let answer = self.answer(self.rpc.clone().list_types(request).await)?;
        let types = answer.machine_types.into_iter();
        Ok(types.map(convert::machine_type).collect())
    }

    pub(crate) async fn machine_type(&self, user: &str, name: &str) -> Result<MachineType> {
        let found = self.machine_types(Some(user)).await?;
        found
            .into_iter()
            .find(|machine_type| machine_type.name == name)
            .ok_or_else(|| Failure::NotFound(format!("user `{user}` has no type `{name}`")))
    }

    pub(crate) async fn update_type(&self, machine_type: MachineType) -> Result<Created> {
        let request = pb::UpdateTypeRequest {
            machine_type: Some(convert::to_machine_type(machine_type)),
        };
        let answer = self.answer(self.rpc.clone().update_type(request).await)?;
        Ok(Created {
            machine_type: convert::machine_type(answer.machine_type.unwrap_or_default()),
            login: None,
            warnings: answer.warnings,
        })
    }

    pub(crate) async fn delete_type(&self, user: &str, name: &str) -> Result<()> {
        let request = pb::DeleteTypeRequest {
            user: user.into(),
            name: name.into(),
        };
        self.answer(self.rpc.clone().delete_type(request).await)?;
        Ok(())
    }

    pub(crate) async fn create_login(
        &self,
        user: &str,
        machine_type: &str,
        name: Option<String>,
        allow_selectors: bool,
    ) -> Result<NewLogin> {
        let request = pb::CreateLoginRequest {
            user: user.into(),
            machine_type: machine_type.into(),
            allow_selectors,
            name: name.unwrap_or_default(),
        };
        let answer = self.answer(self.rpc.clone().create_login(request).await)?;
        Ok(convert::new_login(answer.login.unwrap_or_default()))
    }

    pub(crate) async fn rotate_login(&self, name: &str) -> Result<NewLogin> {
        let request = pb::RotateLoginRequest { name: name.into() };
        let answer = self.answer(self.rpc.clone().rotate_login(request).await)?;
        Ok(convert::new_login(answer.login.unwrap_or_default()))
    }

    /// The logins of a user, or all.
    pub(crate) async fn logins(&self, user: Option<&str>) -> Result<Vec<Login>> {
        let request = pb::ListLoginsRequest {
            user: user.unwrap_or_default().into(),
        };
        let answer = self.answer(self.rpc.clone().list_logins(request).await)?;
        Ok(answer.logins.into_iter().map(convert::login).collect())
    }

    pub(crate) async fn delete_login(&self, name: &str) -> Result<()> {
        let request = pb::DeleteLoginRequest { name: name.into() };
        self.answer(self.rpc.clone().delete_login(request).await)?;
        Ok(())
    }

    /// Creates or replaces an upstream.
    pub(crate) async fn put_upstream(
        &self,
        upstream: Upstream,
        secrets: UpstreamSecrets,
    ) -> Result<()> {
        let request = pb::PutUpstreamRequest {
            upstream: Some(convert::to_upstream(upstream, secrets)),
        };
        self.answer(self.rpc.clone().put_upstream(request).await)?;
        Ok(())
    }

    pub(crate) async fn upstreams(&self) -> Result<Vec<Upstream>> {
        let request = pb::ListUpstreamsRequest {};
        let answer = self.answer(self.rpc.clone().list_upstreams(request).await)?;
        Ok(answer
            .upstreams
            .into_iter()
            .map(convert::upstream)
            .collect())
    }

    pub(crate) async fn delete_upstream(&self, name: &str) -> Result<()> {
        let request = pb::DeleteUpstreamRequest { name: name.into() };
        self.answer(self.rpc.clone().delete_upstream(request).await)?;
        Ok(())
    }

    /// Creates or replaces a rule.
    pub(crate) async fn put_rule(&self, rule: Rule) -> Result<()> {
        let request = pb::PutRuleRequest {
            rule: Some(convert::to_rule(rule)),
        };
        self.answer(self.rpc.clone().put_rule(request).await)?;
        Ok(())
    }

    pub(crate) async fn rules(&self) -> Result<Vec<Rule>> {
        let request = pb::ListRulesRequest {};
        let answer = self.answer(self.rpc.clone().list_rules(request).await)?;
        Ok(answer.rules.into_iter().map(convert::rule).collect())
    }

    pub(crate) async fn delete_rule(&self, name: &str) -> Result<()> {
        let request = pb::DeleteRuleRequest { name: name.into() };
        self.answer(self.rpc.clone().delete_rule(request).await)?;
        Ok(())
    }

    /// Creates or replaces a pin.
    pub(crate) async fn put_pin(&self, pin: Pin) -> Result<()> {
        let request = pb::PutPinRequest {
            pin: Some(convert::to_pin(pin)),
        };
        self.answer(self.rpc.clone().put_pin(request).await)?;
        Ok(())
    }

    pub(crate) async fn pins(&self) -> Result<Vec<Pin>> {
        let request = pb::ListPinsRequest {};
        let answer = self.answer(self.rpc.clone().list_pins(request).await)?;
        Ok(answer.pins.into_iter().map(convert::pin).collect())
    }

    pub(crate) async fn delete_pin(
        &self,
        user: &str,
        machine_type: &str,
        repository: &str,
    ) -> Result<()> {
        let request = pb::DeletePinRequest {
            user: user.into(),
            machine_type: machine_type.into(),
            repository: repository.into(),
        };
        self.answer(self.rpc.clone().delete_pin(request).await)?;
        Ok(())
    }

    /// Creates a grant. One that is there already stays.
    pub(crate) async fn put_grant(&self, grant: Grant) -> Result<()> {
        let request = pb::PutGrantRequest {
            grant: Some(convert::to_grant(grant)),
        };
        self.answer(self.rpc.clone().put_grant(request).await)?;
        Ok(())
    }

    pub(crate) async fn grants(&self) -> Result<Vec<Grant>> {
        let request = pb::ListGrantsRequest {};
        let answer = self.answer(self.rpc.clone().list_grants(request).await)?;
        Ok(answer.grants.into_iter().map(convert::grant).collect())
    }

    pub(crate) async fn delete_grant(&self, grant: Grant) -> Result<()> {
        let request = pb::DeleteGrantRequest {
            grant: Some(convert::to_grant(grant)),
        };
        self.answer(self.rpc.clone().delete_grant(request).await)?;
        Ok(())
    }

    /// Creates or replaces a CPU name.
    pub(crate) async fn put_cpu(&self, cpu: Cpu) -> Result<()> {
        let request = pb::PutCpuRequest {
            cpu: Some(convert::to_cpu(cpu)),
        };
        self.answer(self.rpc.clone().put_cpu(request).await)?;
        Ok(())
    }

    pub(crate) async fn cpus(&self) -> Result<Vec<Cpu>> {
        let request = pb::ListCpusRequest {};
        let answer = self.answer(self.rpc.clone().list_cpus(request).await)?;
        Ok(answer.cpus.into_iter().map(convert::cpu).collect())
    }

    pub(crate) async fn delete_cpu(&self, name: &str) -> Result<()> {
        let request = pb::DeleteCpuRequest { name: name.into() };
        self.answer(self.rpc.clone().delete_cpu(request).await)?;
        Ok(())
    }

    pub(crate) async fn recipes(&self) -> Result<Vec<Recipe>> {
        let request = pb::ListRecipesRequest {};
        let answer = self.answer(self.rpc.clone().list_recipes(request).await)?;
        Ok(answer.recipes.into_iter().map(convert::recipe).collect())
    }

    /// Makes all workers drop what fits all that is given.
    pub(crate) async fn purge_cache(
        &self,
        upstream: Option<String>,
        repository: Option<String>,
        digest: Option<String>,
    ) -> Result<()> {
        let request = pb::PurgeCacheRequest {
            upstream: upstream.unwrap_or_default(),
            repository: repository.unwrap_or_default(),
            digest: digest.unwrap_or_default(),
        };
        self.answer(self.rpc.clone().purge_cache(request).await)?;
        Ok(())
    }

    /// The workers, and the newest revision.
    pub(crate) async fn workers(&self) -> Result<(Vec<Worker>, Option<Revision>)> {
        let request = pb::ListWorkersRequest {};
        let answer = self.answer(self.rpc.clone().list_workers(request).await)?;
        let workers = answer.workers.into_iter().map(convert::worker).collect();
        Ok((workers, answer.revision.map(convert::revision)))
    }

    pub(crate) async fn status(&self) -> Result<Status> {
        let request = pb::GetStatusRequest {};
        let answer = self.answer(self.rpc.clone().get_status(request).await)?;
        Ok(convert::status(answer))
    }
}
