//! The cluster's own administration: tokens and members.

use crate::{api::Client, error::ClientError, failover::Call, transport::Connection};
use pontoon_wire::pontoon::v1::{
    CreateTokenRequest, CreateTokenResponse, ListTokensRequest, MembershipResponse, PromoteRequest,
    RemoveRequest, RevokeTokenRequest, TokenInfo, TransferRequest, cluster_client::ClusterClient,
};
use tonic::{Request, Response};

impl Client {
    async fn cluster<M, T, F, Fut>(&self, call: Call, message: M, send: F) -> Result<T, ClientError>
    where
        M: Clone,
        F: Fn(ClusterClient<Connection>, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let send = |connection, request| send(ClusterClient::new(connection), request);
        self.call(call, message, send).await
    }

    /// Makes a join token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_token(
        &self,
        wanted: CreateTokenRequest,
    ) -> Result<CreateTokenResponse, ClientError> {
        let request = wanted;
        let send = |mut client: ClusterClient<Connection>, request| async move {
            client.create_token(request).await
        };
        self.cluster(Call::Write, request, send).await
    }

    /// Every join token that is kept.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        let request = ListTokensRequest {};
        let send = |mut client: ClusterClient<Connection>, request| async move {
            client.list_tokens(request).await
        };
        let answer = self.cluster(Call::Read, request, send).await?;
        Ok(answer.tokens)
    }

    /// Has a join token forgotten.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        let request = RevokeTokenRequest { id: id.to_owned() };
        let send = |mut client: ClusterClient<Connection>, request| async move {
            client.revoke_token(request).await
        };
        self.cluster(Call::Write, request, send).await?;
        Ok(())
    }

    /// Lets a learner vote; answers when it does.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn promote(&self, id: u64) -> Result<MembershipResponse, ClientError> {
        let request = PromoteRequest { id };
        let send = |mut client: ClusterClient<Connection>, request| async move {
            client.promote(request).await
        };
        self.cluster(Call::Write, request, send).await
    }

    /// Takes a member out for good; answers when it is out.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, id: u64, force: bool) -> Result<MembershipResponse, ClientError> {
        let request = RemoveRequest { id, force };
        let send = |mut client: ClusterClient<Connection>, request| async move {
            client.remove(request).await
        };
        self.cluster(Call::Write, request, send).await
    }

    /// Hands leadership to a voter, or to the furthest one for zero; answers when it leads.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn transfer(&self, id: u64) -> Result<MembershipResponse, ClientError> {
        let request = TransferRequest { id };
        let send = |mut client: ClusterClient<Connection>, request| async move {
            client.transfer(request).await
        };
        self.cluster(Call::Write, request, send).await
    }
}
