//! Serves the policy to admins. Each call checks who asks, asks the catalog,
//! and converts; it decides nothing.

use metahub_policy::{Cpu, Grant, Rule};
use metahub_proto::admin::v1::{
    self as proto, admin_service_server::AdminService as AdminServiceTrait,
};
use tonic::{Request, Response, Status};

use super::{Parts, actor};
use crate::{
    Secret,
    access::View,
    catalog::{LoginWish, PurgeWish},
    convert,
    records::{Key, Kind, Login, MachineType, Pin, Recipe, Upstream, User},
};

/// The admin service of the contract.
#[derive(Debug)]
pub(super) struct AdminApi {
    parts: Parts,
}

type Answer<T> = Result<Response<T>, Status>;

impl AdminApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The policy as the caller may see it.
    fn view<T>(&self, request: &Request<T>) -> Result<View, Status> {
        let scope = actor(request)?.scope;
        Ok(View::new(self.parts.catalog.policy(), scope))
    }
}

#[tonic::async_trait]
impl AdminServiceTrait for AdminApi {
    async fn create_user(
        &self,
        request: Request<proto::CreateUserRequest>,
    ) -> Answer<proto::CreateUserResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let password = Some(asked.password).filter(|it| !it.is_empty());
        let created = self
            .parts
            .catalog
            .create_user(&actor, asked.name, password.map(Secret::from))
            .await?;
        Ok(Response::new(proto::CreateUserResponse {
            user: Some(convert::user(&created)),
        }))
    }

    async fn list_users(
        &self,
        request: Request<proto::ListUsersRequest>,
    ) -> Answer<proto::ListUsersResponse> {
        let view = self.view(&request)?;
        let users = view.all::<User>().map(convert::user).collect();
        Ok(Response::new(proto::ListUsersResponse { users }))
    }

    async fn delete_user(
        &self,
        request: Request<proto::DeleteUserRequest>,
    ) -> Answer<proto::DeleteUserResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.parts.catalog.delete_user(&actor, &name).await?;
        Ok(Response::new(proto::DeleteUserResponse {}))
    }

    async fn create_type(
        &self,
        request: Request<proto::CreateTypeRequest>,
    ) -> Answer<proto::CreateTypeResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let machine_type = convert::machine_type_from(asked.machine_type)?;
        let wish = (!asked.without_login).then_some(LoginWish {
            allow_selectors: asked.allow_selectors,
            label: None,
        });
        let catalog = &self.parts.catalog;
        let created = catalog.create_type(&actor, machine_type, wish).await?;
        Ok(Response::new(proto::CreateTypeResponse {
            machine_type: Some(convert::machine_type(&created.machine_type)),
            login: created.login.map(convert::new_login),
            warnings: created.warnings,
        }))
    }

    async fn list_types(
        &self,
        request: Request<proto::ListTypesRequest>,
    ) -> Answer<proto::ListTypesResponse> {
        let view = self.view(&request)?;
        let user = request.into_inner().user;
        let mut types: Vec<&MachineType> = view.all().collect();
        types.retain(|it| user.is_empty() || it.user == user);
        types.sort_by_key(|it| (&it.user, &it.name));
        Ok(Response::new(proto::ListTypesResponse {
            machine_types: types.into_iter().map(convert::machine_type).collect(),
        }))
    }

    async fn update_type(
        &self,
        request: Request<proto::UpdateTypeRequest>,
    ) -> Answer<proto::UpdateTypeResponse> {
        let actor = actor(&request)?;
        let machine_type = convert::machine_type_from(request.into_inner().machine_type)?;
        let catalog = &self.parts.catalog;
        let updated = catalog.update_type(&actor, machine_type).await?;
        Ok(Response::new(proto::UpdateTypeResponse {
            machine_type: Some(convert::machine_type(&updated.machine_type)),
            warnings: updated.warnings,
        }))
    }

    async fn delete_type(
        &self,
        request: Request<proto::DeleteTypeRequest>,
    ) -> Answer<proto::DeleteTypeResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let catalog = &self.parts.catalog;
        catalog
            .delete_type(&actor, &asked.user, &asked.name)
            .await?;
        Ok(Response::new(proto::DeleteTypeResponse {}))
    }

    async fn create_login(
        &self,
        request: Request<proto::CreateLoginRequest>,
    ) -> Answer<proto::CreateLoginResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let wish = LoginWish {
            allow_selectors: asked.allow_selectors,
            label: Some(asked.name).filter(|name| !name.is_empty()),
        };
        let catalog = &self.parts.catalog;
        let login = catalog
            .create_login(&actor, &asked.user, &asked.machine_type, wish)
            .await?;
        Ok(Response::new(proto::CreateLoginResponse {
            login: Some(convert::new_login(login)),
        }))
    }

    async fn rotate_login(
        &self,
        request: Request<proto::RotateLoginRequest>,
    ) -> Answer<proto::RotateLoginResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        let login = self.parts.catalog.rotate_login(&actor, &name).await?;
        Ok(Response::new(proto::RotateLoginResponse {
            login: Some(convert::new_login(login)),
        }))
    }

    async fn list_logins(
        &self,
        request: Request<proto::ListLoginsRequest>,
    ) -> Answer<proto::ListLoginsResponse> {
        let view = self.view(&request)?;
        let user = request.into_inner().user;
        let logins = view.all::<Login>();
        Ok(Response::new(proto::ListLoginsResponse {
            logins: logins
                .filter(|login| user.is_empty() || login.user == user)
                .map(convert::login_summary)
                .collect(),
        }))
    }

    async fn delete_login(
        &self,
        request: Request<proto::DeleteLoginRequest>,
    ) -> Answer<proto::DeleteLoginResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.parts.catalog.delete_login(&actor, &name).await?;
        Ok(Response::new(proto::DeleteLoginResponse {}))
    }

    async fn put_upstream(
        &self,
        request: Request<proto::PutUpstreamRequest>,
    ) -> Answer<proto::PutUpstreamResponse> {
        let actor = actor(&request)?;
        let upstream = convert::upstream_from(request.into_inner().upstream)?;
        self.parts.catalog.put_upstream(&actor, upstream).await?;
        Ok(Response::new(proto::PutUpstreamResponse {}))
    }

    async fn list_upstreams(
        &self,
        request: Request<proto::ListUpstreamsRequest>,
    ) -> Answer<proto::ListUpstreamsResponse> {
        let view = self.view(&request)?;
        let upstreams = view.all::<Upstream>().map(convert::listed_upstream);
        Ok(Response::new(proto::ListUpstreamsResponse {
            upstreams: upstreams.collect(),
        }))
    }

    async fn delete_upstream(
        &self,
        request: Request<proto::DeleteUpstreamRequest>,
    ) -> Answer<proto::DeleteUpstreamResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.parts.catalog.delete_upstream(&actor, &name).await?;
        Ok(Response::new(proto::DeleteUpstreamResponse {}))
    }

    async fn put_rule(
        &self,
        request: Request<proto::PutRuleRequest>,
    ) -> Answer<proto::PutRuleResponse> {
        let actor = actor(&request)?;
        let rule = convert::rule_from(request.into_inner().rule)?;
        self.parts.catalog.put_rule(&actor, rule).await?;
        Ok(Response::new(proto::PutRuleResponse {}))
    }

    async fn list_rules(
        &self,
        request: Request<proto::ListRulesRequest>,
    ) -> Answer<proto::ListRulesResponse> {
        let view = self.view(&request)?;
        let rules = view.all::<Rule>().map(convert::rule).collect();
        Ok(Response::new(proto::ListRulesResponse { rules }))
    }

    async fn delete_rule(
        &self,
        request: Request<proto::DeleteRuleRequest>,
    ) -> Answer<proto::DeleteRuleResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.parts.catalog.delete_rule(&actor, &name).await?;
        Ok(Response::new(proto::DeleteRuleResponse {}))
    }

    async fn put_pin(
        &self,
        request: Request<proto::PutPinRequest>,
    ) -> Answer<proto::PutPinResponse> {
        let actor = actor(&request)?;
        let pin = convert::pin_from(request.into_inner().pin)?;
        self.parts.catalog.put_pin(&actor, pin).await?;
        Ok(Response::new(proto::PutPinResponse {}))
    }

    async fn list_pins(
        &self,
        request: Request<proto::ListPinsRequest>,
    ) -> Answer<proto::ListPinsResponse> {
        let view = self.view(&request)?;
        let mut pins: Vec<&Pin> = view.all().collect();
        pins.sort_by_key(|it| (&it.user, &it.machine_type, &it.repository));
        Ok(Response::new(proto::ListPinsResponse {
            pins: pins.into_iter().map(convert::pin).collect(),
        }))
    }

    async fn delete_pin(
        &self,
        request: Request<proto::DeletePinRequest>,
    ) -> Answer<proto::DeletePinResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let key = Key::pin(&asked.user, &asked.machine_type, &asked.repository);
        self.parts.catalog.delete_pin(&actor, key).await?;
        Ok(Response::new(proto::DeletePinResponse {}))
    }

    async fn put_grant(
        &self,
        request: Request<proto::PutGrantRequest>,
    ) -> Answer<proto::PutGrantResponse> {
        let actor = actor(&request)?;
        let grant = convert::grant_from(request.into_inner().grant)?;
        self.parts.catalog.put_grant(&actor, grant).await?;
        Ok(Response::new(proto::PutGrantResponse {}))
    }

    async fn list_grants(
        &self,
        request: Request<proto::ListGrantsRequest>,
    ) -> Answer<proto::ListGrantsResponse> {
        let view = self.view(&request)?;
        let grants = view.all::<Grant>().map(convert::grant).collect();
        Ok(Response::new(proto::ListGrantsResponse { grants }))
    }

    async fn delete_grant(
        &self,
        request: Request<proto::DeleteGrantRequest>,
    ) -> Answer<proto::DeleteGrantResponse> {
        let actor = actor(&request)?;
        let grant = convert::grant_from(request.into_inner().grant)?;
        self.parts.catalog.delete_grant(&actor, &grant).await?;
        Ok(Response::new(proto::DeleteGrantResponse {}))
    }

    async fn put_cpu(
        &self,
        request: Request<proto::PutCpuRequest>,
    ) -> Answer<proto::PutCpuResponse> {
        let actor = actor(&request)?;
        let cpu = convert::cpu_from(request.into_inner().cpu)?;
        self.parts.catalog.put_cpu(&actor, cpu).await?;
        Ok(Response::new(proto::PutCpuResponse {}))
    }

    async fn list_cpus(
        &self,
        request: Request<proto::ListCpusRequest>,
    ) -> Answer<proto::ListCpusResponse> {
        let view = self.view(&request)?;
        let cpus = view.all::<Cpu>().map(convert::cpu).collect();
        Ok(Response::new(proto::ListCpusResponse { cpus }))
    }

    async fn delete_cpu(
        &self,
        request: Request<proto::DeleteCpuRequest>,
    ) -> Answer<proto::DeleteCpuResponse> {
        let actor = actor(&request)?;
        let name = request.into_inner().name;
        self.parts.catalog.delete_cpu(&actor, &name).await?;
        Ok(Response::new(proto::DeleteCpuResponse {}))
    }

    async fn list_recipes(
        &self,
        request: Request<proto::ListRecipesRequest>,
    ) -> Answer<proto::ListRecipesResponse> {
        let view = self.view(&request)?;
        let mut recipes: Vec<&Recipe> = view.all().collect();
        recipes.sort_by_key(|it| std::cmp::Reverse(it.last_used_unix_secs));
        Ok(Response::new(proto::ListRecipesResponse {
            recipes: recipes.into_iter().map(convert::recipe).collect(),
        }))
    }

    async fn purge_cache(
        &self,
        request: Request<proto::PurgeCacheRequest>,
    ) -> Answer<proto::PurgeCacheResponse> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let wish = PurgeWish {
            upstream: asked.upstream,
            repository: asked.repository,
            digest: asked.digest,
        };
        self.parts.catalog.purge_cache(&actor, wish).await?;
        Ok(Response::new(proto::PurgeCacheResponse {}))
    }

    async fn list_workers(
        &self,
        _: Request<proto::ListWorkersRequest>,
    ) -> Answer<proto::ListWorkersResponse> {
        let policy = self.parts.catalog.policy();
        let members = self.parts.members().await;
        Ok(Response::new(proto::ListWorkersResponse {
            workers: members
                .iter()
                .map(|member| convert::worker(member, &policy))
                .collect(),
            revision: Some(convert::revision(policy.revision)),
        }))
    }

    async fn get_status(
        &self,
        _: Request<proto::GetStatusRequest>,
    ) -> Answer<proto::GetStatusResponse> {
        let policy = self.parts.catalog.policy();
        // The counts are 0 while the store does not answer; the rest is still
        // sent.
        let hosts = self.parts.catalog.host_counts().await.unwrap_or_default();
        let members = self.parts.members().await;
        let connected = members.iter().filter(|it| it.connected);
        Ok(Response::new(proto::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            revision: Some(convert::revision(policy.revision)),
            users: policy.count(Kind::User) as u64,
            machine_types: policy.count(Kind::MachineType) as u64,
            logins: policy.count(Kind::Login) as u64,
            workers_connected: connected.clone().count() as u64,
            workers_current: connected.filter(|it| it.serves(policy.revision)).count() as u64,
            workers_lost: members.iter().filter(|it| !it.connected).count() as u64,
            refused_calls: self.parts.refusals.total(),
            hosts: hosts.joined,
            hosts_drifted: hosts.drifted,
            workers_doubled: members.iter().filter(|it| it.is_doubled()).count() as u64,
        }))
    }
}
