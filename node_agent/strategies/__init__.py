"""Strategies: the plug-in interface and the built-in ones. Pure: candles in, intents out."""

from node_agent.strategies.interface import Intent, Strategy
from node_agent.strategies.ma_trend import MaTrend

__all__ = ["Intent", "MaTrend", "Strategy"]
