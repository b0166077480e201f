"""Users, roles, groups and policies: IAM's pages, each call through dispatch."""
