"""agentic-flow's memory as a backend of lorabank: agentdb's MCP server over stdio or HTTP."""

from lorabank_agentic_flow.opening import open_store
from lorabank_agentic_flow.store import AgenticFlowStore

__all__ = ["AgenticFlowStore", "open_store"]
