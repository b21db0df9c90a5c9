"""Clients of a served character model, over gRPC, for threads and for asyncio."""

from serving.client.client import Address, AsyncClient, Client, ServerError

__all__ = ["Address", "AsyncClient", "Client", "ServerError"]
