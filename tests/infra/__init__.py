"""Tests of infra/, folder by folder."""
