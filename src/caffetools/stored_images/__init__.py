"""Images that lie in the files of a data set's own format, brought into class folders."""
