"""parity bisect: at which commit of a repository a pair parted, searched with git bisect in a worktree of its own."""
