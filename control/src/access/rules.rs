//! The table: every call of the contract, and who may make it.

use super::{Role, Rule};

/// Changes what all share, or shows who is who.
const ADMINS: Rule = Rule::Roles(&[Role::Admin]);
/// Changes what belongs to a user. Of which user, the catalog checks.
const OWNERS: Rule = Rule::Roles(&[Role::Admin, Role::Owner]);
/// Shows what concerns all users.
const VIEWERS: Rule = Rule::Roles(&[Role::Admin, Role::Viewer]);
/// Shows what each may see: owners, what belongs to their user.
const ALL_ROLES: Rule = Rule::Roles(&[Role::Admin, Role::Owner, Role::Viewer]);

/// One line for each call, by service. What is not here is refused.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("/grpc.health.v1.Health/Check", Rule::Public),
    ("/grpc.health.v1.Health/Watch", Rule::Public),
    ("/metahub.policy.v1.PolicyService/Follow", Rule::Worker),
    (
        "/metahub.policy.v1.PolicyService/RecordRecipe",
        Rule::Worker,
    ),
    ("/metahub.policy.v1.PolicyService/FindRecipe", Rule::Worker),
    // A join token is in the request itself.
    ("/metahub.policy.v1.JoinService/Join", Rule::Public),
    ("/metahub.policy.v1.JoinService/Renew", Rule::Worker),
    ("/metahub.admin.v1.JoiningService/CreateJoinToken", ADMINS),
    ("/metahub.admin.v1.JoiningService/ListJoinTokens", ADMINS),
    ("/metahub.admin.v1.JoiningService/RevokeJoinToken", ADMINS),
    ("/metahub.admin.v1.JoiningService/RemoveWorker", ADMINS),
    // A host token, or the secret of the host's login, is in the request itself.
    ("/metahub.policy.v1.HostService/Join", Rule::Public),
    ("/metahub.policy.v1.HostService/Report", Rule::Public),
    ("/metahub.admin.v1.HostsService/CreateHostToken", OWNERS),
    ("/metahub.admin.v1.HostsService/ListHostTokens", ALL_ROLES),
    ("/metahub.admin.v1.HostsService/RevokeHostToken", OWNERS),
    ("/metahub.admin.v1.HostsService/ListHosts", ALL_ROLES),
    ("/metahub.admin.v1.HostsService/GetHost", ALL_ROLES),
    ("/metahub.admin.v1.HostsService/RemoveHost", OWNERS),
    ("/metahub.admin.v1.HostsService/MoveHost", OWNERS),
    ("/metahub.admin.v1.AuthorityService/GetAuthority", VIEWERS),
    ("/metahub.admin.v1.AuthorityService/RotateAuthority", ADMINS),
    ("/metahub.admin.v1.AuthorityService/RetireAuthority", ADMINS),
    ("/metahub.admin.v1.AdminService/CreateUser", ADMINS),
    ("/metahub.admin.v1.AdminService/ListUsers", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeleteUser", ADMINS),
    ("/metahub.admin.v1.AdminService/CreateType", OWNERS),
    ("/metahub.admin.v1.AdminService/ListTypes", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/UpdateType", OWNERS),
    ("/metahub.admin.v1.AdminService/DeleteType", OWNERS),
    ("/metahub.admin.v1.AdminService/CreateLogin", OWNERS),
    ("/metahub.admin.v1.AdminService/RotateLogin", OWNERS),
    ("/metahub.admin.v1.AdminService/ListLogins", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeleteLogin", OWNERS),
    ("/metahub.admin.v1.AdminService/PutUpstream", ADMINS),
    ("/metahub.admin.v1.AdminService/ListUpstreams", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeleteUpstream", ADMINS),
    ("/metahub.admin.v1.AdminService/PutRule", ADMINS),
    ("/metahub.admin.v1.AdminService/ListRules", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeleteRule", ADMINS),
    ("/metahub.admin.v1.AdminService/PutPin", OWNERS),
    ("/metahub.admin.v1.AdminService/ListPins", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeletePin", OWNERS),
    ("/metahub.admin.v1.AdminService/PutGrant", OWNERS),
    ("/metahub.admin.v1.AdminService/ListGrants", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeleteGrant", OWNERS),
    ("/metahub.admin.v1.AdminService/PutCpu", ADMINS),
    ("/metahub.admin.v1.AdminService/ListCpus", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/DeleteCpu", ADMINS),
    ("/metahub.admin.v1.AdminService/ListRecipes", VIEWERS),
    ("/metahub.admin.v1.AdminService/PurgeCache", ADMINS),
    ("/metahub.admin.v1.AdminService/ListWorkers", ALL_ROLES),
    ("/metahub.admin.v1.AdminService/GetStatus", ALL_ROLES),
    ("/metahub.admin.v1.AuditService/Tail", VIEWERS),
    ("/metahub.admin.v1.AccessService/CreateToken", ADMINS),
    ("/metahub.admin.v1.AccessService/ListTokens", VIEWERS),
    ("/metahub.admin.v1.AccessService/RevokeToken", ADMINS),
    ("/metahub.admin.v1.AccessService/WhoAmI", ALL_ROLES),
    (
        "/metahub.admin.v1.AccessService/GetAuthSettings",
        Rule::Public,
    ),
    ("/metahub.admin.v1.DeclarationService/Apply", ADMINS),
    ("/metahub.admin.v1.DeclarationService/Diff", VIEWERS),
    ("/metahub.admin.v1.DeclarationService/Export", VIEWERS),
    ("/metahub.admin.v1.DeclarationService/Backup", ADMINS),
    ("/metahub.admin.v1.DeclarationService/Rollback", ADMINS),
];

/// Who may make the call with this path, for example
/// `/metahub.admin.v1.AdminService/ListUsers`. `None`: no one.
pub(crate) fn rule_of(call: &str) -> Option<Rule> {
    let mut rules = RULES.iter();
    rules.find(|(path, _)| *path == call).map(|(_, rule)| *rule)
}
