"""Clients of a served character model, over gRPC, for threads and for asyncio."""

from serving.client.client import Address, AsyncClient, Client, ServerError
from serving.client.launch import running_server
from serving.protocol import SamplingParams, Score, Text

__all__ = [
    "Address",
    "AsyncClient",
    "Client",
    "SamplingParams",
    "Score",
    "ServerError",
    "Text",
    "running_server",
]
