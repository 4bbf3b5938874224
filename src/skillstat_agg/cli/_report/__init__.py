"""The page that ``skillstat report`` makes: what it holds, how it is drawn and written."""
