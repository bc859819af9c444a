"""The paper exchange: recorded candles, play money, and books of its own that outlive the process."""

from node_agent.exchanges.paper.exchange import PaperExchange, open_paper

__all__ = ["PaperExchange", "open_paper"]
